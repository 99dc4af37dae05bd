"""Real models beside transformers: SmolLM2-135M-Instruct from its GGUF file and a MiniLM BERT from
its folder.

    TRAINYARD_BUILD_DIR=build pytest tests/golden/test_real_models.py
"""

import functools
import json
import math
import pathlib

import numpy
import pytest

torch = pytest.importorskip("torch", reason="needs a torch that Python can import",
                            exc_type=ImportError)
transformers = pytest.importorskip("transformers")
pytest.importorskip("gguf")

import packages
import probe

HERE = pathlib.Path(__file__).resolve().parent
WIKITEXT = HERE.parents[2] / "shared/data/wikitext-2/test.txt"

QUESTIONS = [
    "What is gravity?", "Write a haiku about rain.", "List three prime numbers.",
    "Who wrote Hamlet?", "Explain photosynthesis to a child.", "What is 17 plus 25?",
    "Translate 'good morning' into French.", "Name the largest planet.",
    "Give me a recipe for pancakes.", "What does a compiler do?",
    "Tell me a short story about a fox.", "Why is the sky blue?",
    "How do I boil an egg?", "What is the capital of Japan?", "Define entropy in one sentence.",
    "Suggest a name for a cat.", "What is the boiling point of water?",
    "Write a sentence that uses the word 'azure'.", "How many legs has a spider?",
    "What should I pack for a day at the beach?",
]
NEW_TOKENS = 64
CLOSE_CALL = 1e-3  # two best logits so near each other may change places


@functools.cache
def smollm2():
    """The model as transformers loads the GGUF file, its tokenizer, the file."""
    path = packages.smollm2_gguf()
    torch.set_num_threads(2)
    load = dict(pretrained_model_name_or_path=path.parent, gguf_file=path.name)
    model = transformers.AutoModelForCausalLM.from_pretrained(**load, dtype=torch.float32,
                                                              attn_implementation="eager")
    return model.eval(), transformers.AutoTokenizer.from_pretrained(**load), path


def texts():
    return ["The history of the lighthouse begins in", "def add(a, b):\n    return",
            "Ships & sails: 1,024 knots, naïve café — 東京 🚀"]


def test_smollm2_has_transformers_logits():
    model, tokenizer, path = smollm2()
    items = [tokenizer(text).input_ids for text in texts()]
    ours = probe.ask(path, items, ["logits"], threads=2)["logits"]
    with torch.no_grad():
        theirs = torch.cat([model(torch.tensor([i])).logits[0] for i in items]).numpy()
        model.set_attn_implementation("sdpa")
        other = torch.cat([model(torch.tensor([i])).logits[0] for i in items]).numpy()
        model.set_attn_implementation("eager")
    allowed = max(1e-5, 2 * numpy.abs(other - theirs).max())
    gap = numpy.abs(ours - theirs).max()
    print(f"largest gap {gap:.2e}, allowed {allowed:.2e}")
    assert gap <= min(allowed, 1e-4 * numpy.abs(theirs).max())


def choices(model, prompt, answer):
    """Of each place of an answer: transformers' greedy id after what stands before it, and how far its two best logits
    are apart. All of them in one forward pass: while the ids agree this is its own continuation."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1:-1]
    best = logits.topk(2)
    return best.indices[:, 0].tolist(), (best.values[:, 0] - best.values[:, 1]).tolist()


def test_smollm2_answers_as_transformers_does():
    model, tokenizer, path = smollm2()
    prompts = [tokenizer.apply_chat_template([{"role": "user", "content": q}],
                                             add_generation_prompt=True, return_dict=False)
               for q in QUESTIONS]
    stop = tokenizer.convert_tokens_to_ids("<|im_end|>")
    ours = probe.ask(path, prompts=prompts, max_new_tokens=NEW_TOKENS, stop_ids=[stop],
                     threads=2)["greedy"]
    close_calls = []
    for question, prompt, answer in zip(QUESTIONS, prompts, ours):
        assert len(answer) == NEW_TOKENS or answer[-1] == stop, question
        wanted, gaps = choices(model, prompt, answer)
        place = next((i for i, (a, b) in enumerate(zip(answer, wanted)) if a != b), None)
        if place is None:
            continue
        assert gaps[place] < CLOSE_CALL, f"{question}: token {place}, gap {gaps[place]}"
        close_calls.append(f"{question} token {place}: gap {gaps[place]:.1e}")
    print("places where the two best were too close to call:", close_calls or "none")


def windows(tokenizer, tokens, count):
    ids = tokenizer(WIKITEXT.read_text()).input_ids
    return [ids[i * tokens:(i + 1) * tokens] for i in range(count)]


def test_smollm2_is_as_perplexed_by_wikitext():
    if not WIKITEXT.exists():
        pytest.skip(f"{WIKITEXT} is not there")
    model, tokenizer, path = smollm2()
    items = windows(tokenizer, 512, 6)
    ours = probe.ask(path, items, ["logprobs"], threads=2)["logprobs"]
    with torch.no_grad():
        losses = [model(torch.tensor([i]), labels=torch.tensor([i])).loss.item() for i in items]
    theirs = math.exp(sum(losses) / len(losses))
    perplexity = math.exp(-ours.mean())
    print(f"perplexity {perplexity:.4f}, transformers {theirs:.4f}")
    assert perplexity == pytest.approx(theirs, rel=1e-3)


def test_minilm_has_transformers_hidden_states():
    folder = packages.minilm()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    sentences = ["A man is eating food.", "Someone in a gorilla costume is playing drums.",
                 "東京 is a city; so is Zürich!", "yes"]
    items = [tokenizer(sentence).input_ids for sentence in sentences]
    ours = probe.ask(folder, items, ["hidden"])["hidden"]
    with torch.no_grad():
        theirs = torch.cat([model(torch.tensor([i])).last_hidden_state[0] for i in items]).numpy()
    assert numpy.abs(ours - theirs).max() < 1e-4
