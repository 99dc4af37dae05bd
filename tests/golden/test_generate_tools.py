"""`tool generate` and `tool chat` say what transformers' generate says, greedily, on a random model with a
chat template: one prompt, a file of them, a conversation of several turns.

    TRAINYARD_BUILD_DIR=build pytest tests/golden/test_generate_tools.py
"""

import fcntl
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TRAINYARD_BUILD_DIR", REPOSITORY / "build"))
TRAINER = BUILD / "bin/trainyard-trainer"
TEXTS = ["the winter is long and cold.", "anna greets boris near the old garden.", "what is a garden?", "user assistant system"]
TEMPLATE = ("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
            "{% if add_generation_prompt %}<|assistant|>{% endif %}")
NEW = 12


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    if not TRAINER.exists():
        pytest.skip(f"{TRAINER} is not built")
    folder = tmp_path_factory.mktemp("generate") / "model"
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    # Few enough bytes that a random model mostly writes text.
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=96, special_tokens=["<|end|>", "<|user|>", "<|assistant|>", "<|system|>"], show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(3)
    config = transformers.LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512, bos_token_id=None,
        eos_token_id=0, initializer_range=0.3)
    transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def peer(model):
    return Peer(model)


class Peer:
    def __init__(self, folder, dtype=torch.float32):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()

    def answer(self, ids):
        out = self.model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=NEW, pad_token_id=0)
        return self.tokenizer.decode(out[0, len(ids):], skip_special_tokens=True)

    def after(self, text):
        return self.answer(self.tokenizer(text).input_ids)

    def reply(self, *said):
        """To a conversation of user and assistant in turns."""
        messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(said)]
        return self.answer(self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False))


def tool(*words, stdin=b"", check=True):
    ran = subprocess.run([TRAINER, "tool", *words, "--temperature", "0", "--max-new-tokens", str(NEW), "--threads", "1"],
                         input=stdin, capture_output=True, timeout=60)
    if check:
        assert ran.returncode == 0, ran.stderr.decode()
    return ran


def test_a_prompt_is_continued_as_by_transformers(model, peer):
    said = tool("generate", "--model", model, "--prompt", "the old garden").stdout.decode()
    assert said == "the old garden" + peer.after("the old garden") + "\n"


def test_a_message_is_answered_as_by_transformers(model, peer):
    said = tool("generate", "--model", model, "--chat", "what is a garden?").stdout.decode()
    assert said == peer.reply("what is a garden?") + "\n"


def test_bfloat16_begins_as_transformers_in_bfloat16_does(model):
    # Roundings differ from program to program: only the first tokens are sure to be the same.
    said = tool("generate", "--model", model, "--chat", "winter", "--precision", "bf16").stdout.decode()
    narrow = Peer(model, torch.bfloat16).reply("winter")
    assert len(narrow) > 8 and said[:8] == narrow[:8]


def test_a_files_prompts_are_answered_in_its_order(model, peer, tmp_path):
    prompts = [{"prompt": text} for text in TEXTS] + [{"messages": [{"role": "user", "content": text}]} for text in TEXTS]
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))
    lines = [json.loads(line) for line in tool("generate", "--model", model, "--prompts", file).stdout.splitlines()]
    wanted = [peer.after(text) for text in TEXTS] + [peer.reply(text) for text in TEXTS]
    assert [line.pop("completion") for line in lines] == wanted
    assert all(0 < line.pop("tokens") <= NEW for line in lines)
    assert lines == prompts


def test_a_stop_text_ends_an_answer_before_it(model, peer, tmp_path):
    whole = {text: peer.after(text) for text in TEXTS}
    stop = whole[TEXTS[0]][3:5]
    cut = {text: answer[:answer.find(stop)] if stop in answer else answer for text, answer in whole.items()}
    assert cut != whole
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(TEXTS))
    ran = tool("generate", "--model", model, "--prompts", file, "--stop", stop)
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert {line["prompt"]: line["completion"] for line in lines} == cut
    assert lines[0]["tokens"] < NEW  # nothing is written that nobody sees
    said = tool("generate", "--model", model, "--prompt", TEXTS[0], "--stop", stop).stdout.decode()
    assert said == TEXTS[0] + cut[TEXTS[0]] + "\n"


def test_a_conversation_goes_on_as_with_transformers(model, peer):
    turns = ["anna greets boris", "what is cold?", "the garden"]
    stdin = (turns[0] + "\n" + turns[1] + "\n\n/reset\n" + turns[2] + "\n/quit\nnobody reads this\n").encode()
    first = peer.reply(turns[0])
    wanted = [first, peer.reply(turns[0], first, turns[1]), peer.reply(turns[2])]
    assert tool("chat", model, stdin=stdin).stdout.decode() == "".join(answer + "\n" for answer in wanted)


def test_a_message_that_cannot_be_is_refused_and_the_conversation_goes_on(model, peer):
    stdin = b"anna\n\xffboris\n" + b"long " * 700 + b"\nis cold\n"
    ran = tool("chat", model, stdin=stdin)
    first = peer.reply("anna")
    assert ran.stdout.decode() == first + "\n" + peer.reply("anna", first, "is cold") + "\n"
    assert "the user message is not UTF-8 at its byte 0" in ran.stderr.decode()
    assert "tokens" in ran.stderr.decode()


def test_a_prompt_that_is_not_utf8_is_refused(model):
    ran = tool("generate", "--model", model, "--chat", b"a\xffb", check=False)
    assert ran.returncode == 2 and b"not UTF-8 at its byte 1" in ran.stderr


def full_pipe():
    """A pipe without room: who writes to it waits until somebody reads."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    os.write(write, b"." * 4096)
    return read, write


def test_ctrl_c_in_a_chat_ends_the_answer_and_not_the_chat(model, peer):
    read, write = full_pipe()
    chat = subprocess.Popen([TRAINER, "tool", "chat", model, "--temperature", "0", "--max-new-tokens", str(NEW),
                             "--threads", "1"], stdin=subprocess.PIPE, stdout=write, stderr=subprocess.DEVNULL)
    os.close(write)
    chat.stdin.write(b"anna greets boris\n")
    chat.stdin.flush()
    deadline = time.monotonic() + 30
    while "pipe_write" not in pathlib.Path(f"/proc/{chat.pid}/wchan").read_text():  # its first words wait for us
        assert time.monotonic() < deadline and chat.poll() is None
        time.sleep(0.01)
    chat.send_signal(signal.SIGINT)
    chat.stdin.write(b"/reset\nthe garden\n/quit\n")
    chat.stdin.close()
    with os.fdopen(read, "rb") as stream:
        said = stream.read()[4096:].decode()
    assert chat.wait(30) == 0
    first, second = said.split("\n", 1)
    whole = peer.reply("anna greets boris")
    assert whole.startswith(first) and len(first) < len(whole), (first, whole)
    assert second == peer.reply("the garden") + "\n"
