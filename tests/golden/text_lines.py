"""Lines of mixed text for the tokenizers: prose, mathematics, dialogues, code, emoji, many scripts.
Real text where ../shared/data is there, else what the repository itself holds. The same lines on
every call."""

import gzip
import itertools
import json
import pathlib
import random

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
DATA = REPOSITORY.parent / "shared/data"
BYTES_MAX = 2000  # of a line

ARABIC = ["اللغة العربية جميلة", "السلام عليكم ورحمة الله وبركاته", "كِتَابٌ مَفْتُوحٌ", "١٢٣٤٥ ريال", "لا إله إلا الله، محمد",
          "ﷺ ﷲ ﻻ", "التعلّم الآليّ يحتاج إلى بيانات"]
CHINESE = ["我喜歡學習中文。", "机器学习需要数据！", "東京タワーは高い", "天地玄黃，宇宙洪荒", "你好，世界？１２３", "训练一个语言模型", "漢字かな交じり文"]
EMOJI = ["😀😃😄", "👩\u200d👩\u200d👧\u200d👦", "🇫🇷🇩🇪🇯🇵", "👍🏽👍🏿", "❤\ufe0f\u200d🔥", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "1\ufe0f\u20e3", "☃\ufe0e ☃\ufe0f"]
SCRIPTS = [(0x20, 0x7f), (0xa0, 0x180), (0x370, 0x400), (0x400, 0x500), (0x590, 0x5f5), (0x600, 0x700), (0x900, 0x980),
           (0xe00, 0xe80), (0x1100, 0x1200), (0x1e00, 0x1f00), (0x2000, 0x2070), (0x2190, 0x2200), (0x2600, 0x2700),
           (0x3040, 0x3100), (0x4e00, 0x5000), (0xac00, 0xad00), (0xfb00, 0xfb50), (0xff00, 0xff60), (0x1d400, 0x1d500),
           (0x1f300, 0x1f700), (0x20000, 0x20100), (0x300, 0x370)]


def mixed_lines(count: int) -> list[str]:
    """An equal share of each kind, interleaved; kinds that run out begin again."""
    kinds = [itertools.cycle(lines) for lines in sources().values()]
    return [next(kinds[i % len(kinds)]) for i in range(count)]


def sources() -> dict[str, list[str]]:
    code = [p for folder in ("worker", "common", "tests", "cmake") for p in sorted((REPOSITORY / folder).rglob("*"))
            if p.suffix in {".cc", ".h", ".py", ".rs", ".cmake", ".txt"} and "/target/" not in str(p)]
    docs = sorted((REPOSITORY / "docs").rglob("*.md"))
    return {
        "wikitext": lines_of_file(DATA / "wikitext-2/test.txt") or lines_of(docs),
        "gsm8k": [row[key] for row in json_rows(DATA / "gsm8k/test.jsonl") for key in ("question", "answer")] or lines_of(docs),
        "hh": [row[key] for row in json_rows(DATA / "hh-rlhf/harmless-base-test.jsonl.gz") for key in ("chosen", "rejected")]
              or lines_of(docs),
        "code": lines_of(code),
        "emoji": made(EMOJI + ["ok", "lol!!", "(:", "  "], 500, seed=1),
        "arabic": made(ARABIC + ["API", "2024", "\u200f"], 500, seed=2),
        "chinese": made(CHINESE + ["GPU", "3.14", "\u3000"], 500, seed=3),
        "scripts": random_scripts(2000, seed=4),
    }


def lines_of_file(path: pathlib.Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line] if path.exists() else []


def lines_of(paths: list[pathlib.Path]) -> list[str]:
    return [line[:BYTES_MAX // 4] for path in paths for line in lines_of_file(path)]


def json_rows(path: pathlib.Path) -> list[dict]:
    if not path.exists():
        return []
    with (gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8")) as file:
        return [json.loads(line) for line in itertools.islice(file, 2500)]


def made(phrases: list[str], count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [rng.choice(["", " "]).join(rng.choices(phrases, k=rng.randint(1, 8))) for _ in range(count)]


def random_scripts(count: int, seed: int) -> list[str]:
    """Characters of a few blocks each, assigned or not, with white space of all kinds between."""
    rng = random.Random(seed)
    spaces = [" ", "  ", "\t", "\r\n", "\u00a0", "\u2003", "\u200b", "\ufeff", "", "\n\n"]
    lines = []
    for _ in range(count):
        blocks = rng.choices(SCRIPTS, k=3)
        words = ["".join(chr(rng.randrange(*rng.choice(blocks))) for _ in range(rng.randint(1, 8)))
                 for _ in range(rng.randint(1, 10))]
        lines.append("".join(word + rng.choice(spaces) for word in words))
    return lines
