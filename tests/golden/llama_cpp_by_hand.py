"""Exported GGUF files in llama.cpp, run by hand: it builds from source for a quarter of an hour, so no test waits for it.

    python3 -m venv /tmp/llama && /tmp/llama/bin/pip install llama-cpp-python
    TRAINYARD_BUILD_DIR=build ORACLE_PYTHON tests/golden/llama_cpp_by_hand.py /tmp/llama/bin/python [TYPE ...]

Imports SmolLM2-135M-Instruct, exports it in each type (f16 and q8_0 when none is named), lets llama.cpp and transformers
continue the 20 prompts of test_real_models.py from that same file, 64 tokens, greedily, and prints where they part: the place,
and how far transformers' two best logits were apart there. docs/results.md has what it printed.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

# In llama.cpp's own environment: prompts (chat-templated texts) in, ids out.
LLAMA = """
import json, sys
import llama_cpp
request = json.load(sys.stdin)
model = llama_cpp.Llama(request["file"], n_ctx=512, n_threads=2, n_threads_batch=2, verbose=False,
                        type_k=0, type_v=0)  # a cache in float32
answers = []
for text in request["texts"]:
    prompt = model.tokenize(text.encode(), add_bos=False, special=True)
    model.reset()
    ids = []
    for token in model.generate(prompt, temp=0.0, top_k=1, repeat_penalty=1.0):
        ids.append(token)
        if token == model.token_eos() or len(ids) == request["tokens"]:
            break
    answers.append({"prompt": prompt, "ids": ids})
json.dump({"version": llama_cpp.__version__, "eos": model.token_eos(), "answers": answers}, sys.stdout)
"""


def main(python: str, types: list[str]) -> None:
    import torch
    import transformers

    import packages
    from test_import import import_model, tool
    from test_real_models import NEW_TOKENS, QUESTIONS, continuation

    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        folder = import_model(packages.smollm2_gguf(), work / "smollm2")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        texts = [tokenizer.apply_chat_template([{"role": "user", "content": question}], tokenize=False,
                                               add_generation_prompt=True) for question in QUESTIONS]
        for type_name in types:
            file = work / f"smollm2-{type_name}.gguf"
            tool("export", folder, file, "--format", "gguf", "--type", type_name)
            request = {"file": str(file), "texts": texts, "tokens": NEW_TOKENS}
            ran = subprocess.run([python, "-c", LLAMA], input=json.dumps(request), capture_output=True, text=True)
            assert ran.returncode == 0, ran.stderr
            llama = json.loads(ran.stdout)
            model = transformers.AutoModelForCausalLM.from_pretrained(
                work, gguf_file=file.name, dtype=torch.float32, attn_implementation="eager").eval()
            same, parted = 0, []
            for question, text, answer in zip(QUESTIONS, texts, llama["answers"]):
                prompt = tokenizer(text, add_special_tokens=False).input_ids
                assert prompt == answer["prompt"], f"{question}: llama.cpp reads the prompt as other tokens"
                wanted, gaps = continuation(model, prompt, llama["eos"])
                if wanted == answer["ids"]:
                    same += 1
                    continue
                place = next(i for i, (a, b) in enumerate(zip(wanted, answer["ids"])) if a != b)
                parted.append(f"  {question} token {place}, two best {gaps[place]:.4f} apart")
            print(f"{type_name}: {file.stat().st_size / 1e6:.0f} MB, llama-cpp-python {llama['version']}: all 20 prompts are the "
                  f"same tokens; {same} of {len(QUESTIONS)} continuations of up to {NEW_TOKENS} tokens are transformers'")
            print("\n".join(parted), flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:] or ["f16", "q8_0"])
