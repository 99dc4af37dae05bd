"""The share of 200 quickstart steps' time that training stands still for checkpoints.

    python3 bench/checkpoint_share.py [--rounds 2] [--steps 200]

From the job's own metrics, rank by rank: seconds of saving over seconds of stepping and saving. Evaluation is off.
"""

import argparse

from yard import Yard, machine, need_quickstart_data, spread


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    need_quickstart_data()
    print(machine())
    shares, each = [], []
    with Yard() as yard:
        yard.start_cluster(2)
        for _ in range(arguments.rounds):
            job = yard.train(f"train.max_steps={arguments.steps}", "evaluation.eval_steps=0")
            points = yard.points(job, "step_seconds", "step_phase_seconds/checkpoint")
            steps, saves = points["step_seconds"], points["step_phase_seconds/checkpoint"]
            assert len(steps) == arguments.steps and max(saves) == arguments.steps
            shares.append(100 * sum(saves.values()) / (sum(steps.values()) + sum(saves.values())))
            each += saves.values()
            print(f"{len(saves)} checkpoints at steps {', '.join(map(str, sorted(saves)))}; "
                  f"{sum(steps.values()):.1f} s of steps, {sum(saves.values()):.2f} s of saving")
    print(f"share of saving     %  {spread(shares)}")
    print(f"one checkpoint     ms  {spread([1e3 * s for s in each], 0)}")


main()
