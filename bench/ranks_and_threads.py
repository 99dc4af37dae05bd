"""Two ranks of one thread against one rank of two threads: the quickstart's shape and data, taken in turn.

    python3 bench/ranks_and_threads.py [--rounds 3] [--steps 40] [--preset llama-15m --batch 8]

Tokens a second from the median step of each run, without the first five. Wanted: at least 85 %.
"""

import argparse
import statistics

from yard import Yard, machine, need_quickstart_data, spread

WARM_UP = 5
WAYS = {"2 ranks x 1 thread": (2, 1), "1 rank x 2 threads": (1, 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--preset", default="llama-nano")
    parser.add_argument("--batch", type=int, default=16, help="rows of a step")
    arguments = parser.parse_args()
    need_quickstart_data()
    print(machine())
    print(f"{arguments.preset}, {arguments.batch} x 256 tokens")
    rates = {way: [] for way in WAYS}
    with Yard() as yard:
        yard.start_cluster(2)
        for _ in range(arguments.rounds):
            for way, (ranks, threads) in WAYS.items():
                job = yard.train(f"resources.ranks={ranks}", f"resources.threads_per_rank={threads}",
                                 f"model.preset={arguments.preset}", f"train.global_batch_size={arguments.batch}",
                                 f"train.max_steps={arguments.steps}", f"checkpoint.save_steps={arguments.steps}",
                                 "evaluation.eval_steps=0")
                steps = yard.points(job, "tokens_per_second")["tokens_per_second"]
                assert len(steps) == arguments.steps
                rates[way].append(statistics.median(v for step, v in steps.items() if step > WARM_UP))
    for way, values in rates.items():
        print(f"{way}  tokens/s  {spread(values, 0)}")
    two, one = rates.values()
    print(f"two ranks over one          %  {spread([100 * a / b for a, b in zip(two, one)], 1)}")


main()
