#!/usr/bin/env bash
# llama.cpp cuts "ÜBER" in two where the pre-tokenizer is gpt-4o.
#
# The pattern of GPT-4o's tokenizer, o200k (pre-tokenizer "gpt-4o" in GGUF files), tells capitals from small letters by
# \p{Lu} and \p{Ll}, so that a word in capitals stays whole. llama.cpp's expression for it (src/llama-vocab.cpp) has "a
# letter, not a to z" and "a letter, not A to Z" for them, so that a capital beyond ASCII passes for a small letter and
# ends the word: "ÜBER" becomes "Ü" and "BER". The merges that join what the pattern keeps together are then out of reach,
# so the ids differ. Capitals of ASCII alone are cut alike.
#
# Seen with tokenizers 0.23.3 and xllamacpp 2026.10.11549 (CPU, Python 3.11):
#   ' ÜBER': the file ['ĠÃľBER'], llama.cpp ['ĠÃľ', 'BER']
#   ' UBER': the file ['ĠUBER'], llama.cpp ['ĠUBER']
# Exits 1 when that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q gguf==0.19.0 numpy==2.4.6 tokenizers==0.23.3 xllamacpp==2026.10.11549
cd "$work"
"$work/venv/bin/python" - <<'PY'
import ctypes
import json
import pathlib
import sys

import gguf
import tokenizers
import xllamacpp

endings = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?"
upper, lower = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
pattern = (rf"[^\r\n\p{{L}}\p{{N}}]?{upper}*{lower}+{endings}|[^\r\n\p{{L}}\p{{N}}]?{upper}+{lower}*{endings}"
           r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
pieces = tokenizers.pre_tokenizers
file = tokenizers.Tokenizer(tokenizers.models.BPE())
file.pre_tokenizer = pieces.Sequence([pieces.Split(tokenizers.Regex(pattern), "isolated"),
                                      pieces.ByteLevel(add_prefix_space=False, use_regex=False)])
words = [" ÜBER", " UBER"]
file.train_from_iterator(words * 9, tokenizers.trainers.BpeTrainer(
    vocab_size=300, initial_alphabet=pieces.ByteLevel.alphabet(), show_progress=False))
model = json.loads(file.to_str())["model"]
tokens = sorted(model["vocab"], key=model["vocab"].get)

writer = gguf.GGUFWriter("vocabulary.gguf", "llama")
writer.add_tokenizer_model("gpt2")
writer.add_tokenizer_pre("gpt-4o")
writer.add_token_list(tokens)
writer.add_token_types([1] * len(tokens))
writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()


class ModelParams(ctypes.Structure):  # struct llama_model_params: 72 bytes, then flags, the first of them vocab_only
    _fields_ = [("rest", ctypes.c_uint8 * 72), ("vocab_only", ctypes.c_bool), ("flags", ctypes.c_bool * 7)]


llama = ctypes.CDLL(str(next(pathlib.Path(xllamacpp.__file__).parent.glob("*.so"))))
silent = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
llama.llama_log_set(silent, None)
for name, result, arguments in (
        ("llama_model_default_params", ModelParams, []),
        ("llama_model_load_from_file", ctypes.c_void_p, [ctypes.c_char_p, ModelParams]),
        ("llama_model_get_vocab", ctypes.c_void_p, [ctypes.c_void_p]),
        ("llama_tokenize", ctypes.c_int32, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_int32),
                                            ctypes.c_int32, ctypes.c_bool, ctypes.c_bool])):
    getattr(llama, name).restype, getattr(llama, name).argtypes = result, arguments
parameters = llama.llama_model_default_params()
parameters.vocab_only = True
vocabulary = llama.llama_model_get_vocab(llama.llama_model_load_from_file(b"vocabulary.gguf", parameters))

alike = []
for word in words:
    ids = (ctypes.c_int32 * 32)()
    count = llama.llama_tokenize(vocabulary, word.encode(), len(word.encode()), ids, 32, False, False)
    ours, theirs = file.encode(word).tokens, [tokens[i] for i in ids[:count]]
    print(f"{word!r}: the file {ours}, llama.cpp {theirs}")
    alike.append(ours == theirs)
sys.exit(0 if alike == [False, True] else 1)
PY
