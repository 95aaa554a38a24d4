"""What one sees of a study while it runs: the store's state, handed to the table."""

import time
from collections import Counter

from tunesmith.reporting.results import COMPLETE
from tunesmith.reporting.terminal import live
from tunesmith.search.confirmation import confirm
from tunesmith.search.storage.trial_record import Record
from tunesmith.search.study.study import Study
from tunesmith.search.trial import Result


class Watching:
    """Tells a `live.Watch` where a study stands: after each segment, and now and then."""

    def __init__(self, watch: live.Watch, metric: str) -> None:
        self.watch, self.metric = watch, metric
        self.began = time.monotonic()

    def ended(self, study: Study, record: Record, result: Result) -> None:
        rung = study.policy.rungs[result.rung]
        segment = live.Segment(
            record.number,
            rung,
            result.step,
            result.total_steps,
            result.score,
            result.failure,
            result.seconds,
        )
        self.watch.ended(segment, self.progress(study))

    def tick(self, study: Study) -> None:
        self.watch.update(self.progress(study))

    def progress(self, study: Study) -> live.Progress:
        """Return where the study stands."""
        seconds = time.monotonic() - self.began
        kinds = Counter(r.failure for r in study.records if r.failure is not None)
        at_rung = tuple(
            sum(rung in standing.scores for standing in study.standings)
            for rung in range(len(study.policy.rungs))
        )
        return live.Progress(
            study=study.folder.name,
            metric=self.metric,
            target=study.target,
            started=len(study.records),
            complete=sum(r.state(study.last_rung) == COMPLETE for r in study.records),
            failures={str(kind): count for kind, count in kinds.items()},
            rungs=study.policy.rungs,
            at_rung=at_rung,
            best=self._best(study),
            seconds=seconds,
            seconds_left=self._left(study, seconds),
            workers=self._workers(study),
        )

    def _best(self, study: Study) -> live.Best | None:
        ranked = confirm.ranked(study)
        if not ranked:
            return None
        best = ranked[0]
        rung = study.policy.rungs[best.rungs[-1]]
        return live.Best(best.number, best.score or 0.0, rung, tuple(best.overrides))

    def _left(self, study: Study, seconds: float) -> float | None:
        """Return the time to the deadline, or what the trials still to come will take."""
        if study.deadline is not None:
            return max(0.0, study.deadline - time.monotonic())
        done = len(study.records) - len(study.under_way)
        if done <= 0:
            return None
        return seconds / done * max(0, study.target - done)

    def _workers(self, study: Study) -> tuple[live.Work, ...]:
        now = time.monotonic()
        shown = []
        for worker, segment, since in study.executor.worker_status():
            if segment is None:
                shown.append(live.Work(worker))
                continue
            rung = f"to rung {segment.rung}" if len(study.policy.rungs) > 1 else "training"
            shown.append(live.Work(worker, segment.trial, rung, seconds=now - since))
        return tuple(shown)
