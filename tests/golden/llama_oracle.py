"""llama.cpp as an oracle: what it computes for a GGUF file, through the C interface that the package xllamacpp exports.

    from llama_oracle import llama_cpp
    logits = llama_cpp().logits(file, ids)

It runs in a process of its own, once for all tests: llama.cpp ends its process at what it does not like, and beside torch there
would be two OpenMPs. That such an end is a refusal is told by LlamaCppError. The structures below are those of llama.h in this
version of the package; `check_layout` compares their defaults with what the header says, so that another layout is found out.
"""

import ctypes
import functools
import json
import os
import subprocess
import sys

import pytest

VERSION = "2026.10.11549"


class LlamaCppError(Exception):
    """What llama.cpp said when it would not read a file."""


# llama.h, in order. A pointer that we leave alone is a void pointer.
class ModelParams(ctypes.Structure):
    _fields_ = [("devices", ctypes.c_void_p), ("tensor_buft_overrides", ctypes.c_void_p), ("n_gpu_layers", ctypes.c_int32),
                ("split_mode", ctypes.c_int32), ("load_mode", ctypes.c_int32), ("lazy_mode", ctypes.c_int32),
                ("main_gpu", ctypes.c_int32), ("tensor_split", ctypes.c_void_p), ("progress_callback", ctypes.c_void_p),
                ("progress_callback_user_data", ctypes.c_void_p), ("kv_overrides", ctypes.c_void_p),
                *((name, ctypes.c_bool) for name in ("vocab_only", "check_tensors", "use_extra_bufts", "no_host", "no_alloc",
                                                     "load_mtp"))]


class ContextParams(ctypes.Structure):
    _fields_ = [*((name, ctypes.c_uint32) for name in ("n_ctx", "n_batch", "n_ubatch", "n_seq_max", "n_rs_seq", "n_outputs_max",
                                                       "n_outputs_max_per_seq")),
                *((name, ctypes.c_int32) for name in ("n_threads", "n_threads_batch", "ctx_type", "rope_scaling_type",
                                                      "pooling_type", "attention_type", "flash_attn_type")),
                *((name, ctypes.c_float) for name in ("rope_freq_base", "rope_freq_scale", "yarn_ext_factor", "yarn_attn_factor",
                                                      "yarn_beta_fast", "yarn_beta_slow")),
                ("yarn_orig_ctx", ctypes.c_uint32), ("defrag_thold", ctypes.c_float), ("cb_eval", ctypes.c_void_p),
                ("cb_eval_user_data", ctypes.c_void_p), ("type_k", ctypes.c_int32), ("type_v", ctypes.c_int32),
                ("abort_callback", ctypes.c_void_p), ("abort_callback_data", ctypes.c_void_p), ("left_null", ctypes.c_void_p),
                *((name, ctypes.c_bool) for name in ("embeddings", "offload_kqv", "no_perf", "op_offload", "swa_full",
                                                     "kv_unified")),
                ("samplers", ctypes.c_void_p), ("n_samplers", ctypes.c_size_t), ("ctx_other", ctypes.c_void_p)]


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)), ("embd", ctypes.c_void_p),
                ("pos", ctypes.POINTER(ctypes.c_int32)), ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
                ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))), ("logits", ctypes.POINTER(ctypes.c_int8))]


LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


def load_library():
    import pathlib

    import xllamacpp

    library = ctypes.CDLL(str(next(pathlib.Path(xllamacpp.__file__).parent.glob("xllamacpp*.so"))))
    pointer, numbers = ctypes.c_void_p, ctypes.POINTER(ctypes.c_int32)
    for name, result, arguments in (
            ("llama_model_default_params", ModelParams, []), ("llama_context_default_params", ContextParams, []),
            ("llama_model_load_from_file", pointer, [ctypes.c_char_p, ModelParams]),
            ("llama_init_from_model", pointer, [pointer, ContextParams]), ("llama_batch_init", Batch, [ctypes.c_int32] * 3),
            ("llama_decode", ctypes.c_int32, [pointer, Batch]), ("llama_encode", ctypes.c_int32, [pointer, Batch]),
            ("llama_get_logits", ctypes.POINTER(ctypes.c_float), [pointer]),
            ("llama_get_embeddings", ctypes.POINTER(ctypes.c_float), [pointer]), ("llama_free", None, [pointer]),
            ("llama_model_free", None, [pointer]), ("llama_batch_free", None, [Batch]),
            ("llama_model_get_vocab", pointer, [pointer]), ("llama_vocab_n_tokens", ctypes.c_int32, [pointer]),
            ("llama_model_n_embd", ctypes.c_int32, [pointer]), ("llama_log_set", None, [LOG, pointer]),
            ("llama_tokenize", ctypes.c_int32, [pointer, ctypes.c_char_p, ctypes.c_int32, numbers, ctypes.c_int32,
                                                ctypes.c_bool, ctypes.c_bool])):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def check_layout(library) -> None:
    """The defaults of llama.cpp's source where these fields lie: a field too many or too few moves them all."""
    model, context = library.llama_model_default_params(), library.llama_context_default_params()
    assert (model.n_gpu_layers, model.split_mode, model.lazy_mode, model.use_extra_bufts) == (-1, 1, 1, True), "llama_model_params"
    # -1: unspecified, so as the file says.
    assert (context.rope_scaling_type, context.pooling_type, context.attention_type, context.flash_attn_type) == (-1,) * 4
    assert (context.yarn_ext_factor, context.yarn_beta_slow, context.type_k, context.type_v) == (-1, -1, 1, 1)
    flags = [getattr(context, name) for name in ("embeddings", "offload_kqv", "no_perf", "op_offload", "swa_full", "kv_unified")]
    assert flags == [False, True, True, True, True, False] and (context.n_samplers, context.ctx_other) == (0, None)


class Server:
    """In the process of its own: answers requests, one JSON line each."""

    def __init__(self):
        self.said = []
        self.keep = LOG(lambda level, text, _: self.said.append(text.decode(errors="replace")))
        self.library = load_library()
        check_layout(self.library)
        self.library.llama_log_set(self.keep, None)

    def load(self, file: str, vocab_only: bool = False):
        parameters = self.library.llama_model_default_params()
        parameters.vocab_only, parameters.n_gpu_layers = vocab_only, 0
        # Weights as they lie in the file: the repacked ones of the AMX kernels round what they are multiplied with.
        parameters.use_extra_bufts = False
        self.said.clear()
        model = self.library.llama_model_load_from_file(file.encode(), parameters)
        if not model:
            raise LlamaCppError("".join(self.said[-6:]))
        return model

    def run(self, file: str, ids: list[int], hidden: bool) -> list[float]:
        library, model = self.library, self.load(file)
        parameters = library.llama_context_default_params()
        parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = max(256, len(ids))
        parameters.n_threads = parameters.n_threads_batch = 1
        parameters.type_k = parameters.type_v = 0  # float32
        parameters.flash_attn_type, parameters.embeddings, parameters.swa_full = 0, hidden, True
        context = library.llama_init_from_model(model, parameters)
        if not context:
            library.llama_model_free(model)
            raise LlamaCppError("".join(self.said[-6:]))
        batch = library.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, i, 1, 0, 1
        code = (library.llama_encode if hidden else library.llama_decode)(context, batch)
        width = library.llama_model_n_embd(model) if hidden else library.llama_vocab_n_tokens(library.llama_model_get_vocab(model))
        values = (library.llama_get_embeddings if hidden else library.llama_get_logits)(context)[:width * len(ids)] if code == 0 else None
        library.llama_batch_free(batch)
        library.llama_free(context)
        library.llama_model_free(model)
        if values is None:
            raise LlamaCppError(f"llama_decode: {code}")
        return values

    def tokenize(self, file: str, texts: list[str], special: bool) -> list[list[int]]:
        model = self.load(file, vocab_only=True)
        vocabulary, answers = self.library.llama_model_get_vocab(model), []
        for text in texts:
            room = 4 * len(text.encode()) + 16
            ids = (ctypes.c_int32 * room)()
            count = self.library.llama_tokenize(vocabulary, text.encode(), len(text.encode()), ids, room, special, special)
            answers.append(ids[:count])
        self.library.llama_model_free(model)
        return answers

    def serve(self) -> None:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = {"answer": getattr(self, request.pop("ask"))(**request)}
            except LlamaCppError as error:
                answer = {"error": str(error)}
            print(json.dumps(answer), flush=True)


class LlamaCpp:
    """The other end."""

    def __init__(self):
        self.process = None

    def ask(self, ask: str, **request):
        if self.process is None:
            # Where it ends itself it would have a debugger write where it stood to the answers.
            self.process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=subprocess.PIPE, text=True, env={**os.environ, "GGML_NO_BACKTRACE": "1"})
        try:
            self.process.stdin.write(json.dumps({"ask": ask, **request}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            process, self.process = self.process, None
            process.stdin = None  # closed at the other end
            raise LlamaCppError(f"it ended with {process.wait()}: {process.stderr.read()}")
        answer = json.loads(line)
        if "error" in answer:
            raise LlamaCppError(answer["error"])
        return answer["answer"]

    def logits(self, file, ids):
        """[len(ids), vocabulary] float32."""
        import torch

        return torch.tensor(self.ask("run", file=str(file), ids=ids, hidden=False)).reshape(len(ids), -1)

    def hidden(self, file, ids):
        """[len(ids), width] float32: the last layer's output of a model without a head."""
        import torch

        return torch.tensor(self.ask("run", file=str(file), ids=ids, hidden=True)).reshape(len(ids), -1)

    def tokenize(self, file, texts, special=False):
        return self.ask("tokenize", file=str(file), texts=texts, special=special)


@functools.cache
def llama_cpp() -> LlamaCpp:
    xllamacpp = pytest.importorskip("xllamacpp")
    if xllamacpp.__version__ != VERSION:
        pytest.skip(f"the structures of llama.h are written down for xllamacpp {VERSION}, this is {xllamacpp.__version__}")
    return LlamaCpp()


if __name__ == "__main__":
    Server().serve()
