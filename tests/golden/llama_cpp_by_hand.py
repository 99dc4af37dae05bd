"""SmolLM2's whole answers and llama.cpp's own quantiser beside ours, run by hand: llama-cpp-python, which has both, builds from source
for half an hour. That llama.cpp computes what we export is tested every time by test_gguf_llama_cpp.py, with a package that is built.

    python3 -m venv /tmp/llama && /tmp/llama/bin/pip install llama-cpp-python
    TRAINYARD_BUILD_DIR=build ORACLE_PYTHON tests/golden/llama_cpp_by_hand.py /tmp/llama/bin/python [TYPE ...]

Imports SmolLM2-135M-Instruct, exports it in each type (f16 and q8_0 when none is named) and lets llama.cpp and transformers
continue the 20 prompts of test_real_models.py from that same file, 64 tokens, greedily. Where they part it prints the place, and
how far transformers' two best logits were apart there. For block types llama.cpp rounds what it multiplies the weights with to 8 bits,
which transformers does not. So it also continues from the same weights unpacked to float32, and llama.cpp's own quantiser makes the file
once more, whose tensors are compared with ours. A llama.cpp built with BLAS (pip's CMAKE_ARGS="-DGGML_BLAS=ON -DGGML_BLAS_VENDOR=OpenBLAS")
multiplies 32 tokens or more in float32: it also reads transformers' answers out of the very file, each in one piece, and says where it would
have said another token. docs/results.md has what it printed.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

# In llama.cpp's own environment. A request is {"file", "texts", "tokens"}, which gives ids; {"file", "read": [[id]]}, which
# gives after each id the likeliest next one; or {"quantise": FROM, "to", "type"}.
LLAMA = """
import json, pathlib, sys
import llama_cpp
import llama_cpp.llama_cpp as library
request = json.load(sys.stdin)
if "quantise" in request:
    parameters = library.llama_model_quantize_default_params()
    parameters.ftype, parameters.nthread = request["type"], 2
    code = library.llama_model_quantize(request["quantise"].encode(), request["to"].encode(), parameters)
    sys.exit(code)
# Weights as they lie in the file: the repacked ones of its AMX kernels crash version 0.3.36 on this model, also
# on the file that it comes as.
defaults = library.llama_model_default_params

def plain():
    parameters = defaults()
    parameters.use_extra_bufts = False
    return parameters

library.llama_model_default_params = plain
model = llama_cpp.Llama(request["file"], n_ctx=512, n_threads=2, n_threads_batch=2, verbose=False,
                        type_k=0, type_v=0,  # a cache in float32
                        logits_all="read" in request, n_batch=512, n_ubatch=512)
if "read" in request:
    likeliest = []
    for ids in request["read"]:
        model.reset()
        model.eval(ids)
        likeliest.append(model.scores[:len(ids)].argmax(axis=1).tolist())
    has_blas = any(pathlib.Path(llama_cpp.__file__).parent.glob("lib/*ggml-blas*"))
    json.dump({"has_blas": has_blas, "likeliest": likeliest}, sys.stdout)
    sys.exit()
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
FILE_TYPES = {"q8_0": 7, "q4_0": 2, "q4_k_m": 15}  # llama.cpp's numbers


def ask(python: str, **request) -> str:
    ran = subprocess.run([python, "-c", LLAMA], input=json.dumps(request), capture_output=True, text=True)
    assert ran.returncode == 0, f"llama.cpp ended with {ran.returncode}: {ran.stderr}"
    return ran.stdout


def compare(wanted, gaps, answers, questions) -> tuple[int, list[str]]:
    """How many answers are transformers', and where the others part."""
    same, parted = 0, []
    for question, ids, gap, answer in zip(questions, wanted, gaps, answers):
        if ids == answer["ids"]:
            same += 1
            continue
        place = next(i for i, (a, b) in enumerate(zip(ids, answer["ids"])) if a != b)
        parted.append(f"    {question} token {place}, two best {gap[place]:.4f} apart")
    return same, parted


def read_whole(python: str, file: pathlib.Path, prompts, wanted) -> str:
    """How many of the wanted answers llama.cpp would give, each read with its prompt in one piece."""
    read = json.loads(ask(python, file=str(file), read=[prompt + ids for prompt, ids in zip(prompts, wanted)]))
    same = sum(likeliest[len(prompt) - 1:-1] == ids for prompt, ids, likeliest in zip(prompts, wanted, read["likeliest"]))
    return f"read in one piece, {'with' if read['has_blas'] else 'without'} BLAS: {same} answers are transformers'"


def compare_tensors(ours: pathlib.Path, theirs: pathlib.Path) -> str:
    import gguf

    first = {tensor.name: tensor for tensor in gguf.GGUFReader(ours).tensors}
    second = {tensor.name: tensor for tensor in gguf.GGUFReader(theirs).tensors}
    assert set(first) == set(second)
    kinds = [name for name in first if first[name].tensor_type == second[name].tensor_type]
    same = [name for name in kinds if first[name].data.tobytes() == second[name].data.tobytes()]
    return (f"{len(same)} of {len(first)} tensors are byte for byte llama.cpp's own, {len(first) - len(kinds)} have another type")


def main(python: str, types: list[str]) -> None:
    import torch
    import transformers

    import packages
    from test_import import import_model, tool
    from test_real_models import NEW_TOKENS, QUESTIONS, continuation

    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)

        def export(source, name, type_name):
            tool("export", source, work / name, "--format", "gguf", "--type", type_name)
            return work / name

        folder = import_model(packages.smollm2_gguf(), work / "smollm2")
        whole = export(folder, "f32.gguf", "f32")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        texts = [tokenizer.apply_chat_template([{"role": "user", "content": question}], tokenize=False,
                                               add_generation_prompt=True) for question in QUESTIONS]
        prompts = [tokenizer(text, add_special_tokens=False).input_ids for text in texts]
        for type_name in types:
            file = export(folder, f"{type_name}.gguf", type_name)
            llama = json.loads(ask(python, file=str(file), texts=texts, tokens=NEW_TOKENS))
            assert prompts == [answer["prompt"] for answer in llama["answers"]], "llama.cpp reads the prompts as other tokens"
            model = transformers.AutoModelForCausalLM.from_pretrained(
                work, gguf_file=file.name, dtype=torch.float32, attn_implementation="eager").eval()
            wanted, gaps = zip(*(continuation(model, prompt, llama["eos"]) for prompt in prompts))
            same, parted = compare(wanted, gaps, llama["answers"], QUESTIONS)
            print(f"{type_name}: {file.stat().st_size / 1e6:.0f} MB, llama-cpp-python {llama['version']}: all {len(prompts)} prompts are the "
                  f"same tokens; {same} continuations of up to {NEW_TOKENS} tokens are transformers'", *parted, sep="\n", flush=True)
            print(f"  {read_whole(python, file, prompts, wanted)}", flush=True)
            if type_name not in FILE_TYPES:
                continue
            unpacked = export(import_model(file, work / f"{type_name}-unpacked"), "unpacked.gguf", "f32")
            llama = json.loads(ask(python, file=str(unpacked), texts=texts, tokens=NEW_TOKENS))
            same, parted = compare(wanted, gaps, llama["answers"], QUESTIONS)
            print(f"  its weights unpacked to float32: {same} continuations are transformers'", *parted, sep="\n", flush=True)
            unpacked.unlink()
            ask(python, quantise=str(whole), to=str(work / "own.gguf"), type=FILE_TYPES[type_name])
            print(f"  {compare_tensors(file, work / 'own.gguf')}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:] or ["f16", "q8_0"])
