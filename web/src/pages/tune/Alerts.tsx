import { useMemo } from "preact/hooks";
import { count, counted } from "../../format";
import { judgingKeys, press } from "../../judging";
import { keyOf } from "../../marks";
import { Button } from "../../parts/Button";
import { Card } from "../../parts/Card";
import { Keys, useKeys } from "../../parts/Keys";
import { total } from "./Answer";
import { Pictures, pictureId } from "./Pictures";
import type { Marks } from "./marks";
import type { TriedAlert, TrialAnswer } from "./types";

/** The alerts that are listed, at most. */
export const MOST = 1000;

/** What would have alerted, as pictures, and what is lost. */
export function AlertsCard({ answer, nothing, alerts, selected, marks, mayMark, limit, onSelect, onMore }: {
  answer: TrialAnswer | undefined;
  /** Why there is nothing to judge. */
  nothing: string | undefined;
  /** Those of the tried settings, and then those that are lost. */
  alerts: readonly TriedAlert[];
  selected: string | undefined;
  marks: Marks;
  mayMark: boolean;
  /** The number of alerts that were asked for. */
  limit: number;
  onSelect: (time: string) => void;
  onMore: () => void;
}) {
  useJudging(alerts, selected, onSelect, marks, mayMark);
  const pictures = (some: readonly TriedAlert[]) => some.length > 0 && (
    <Pictures
      alerts={some}
      selected={selected}
      marks={marks}
      mayMark={mayMark}
      onSelect={(alert) => onSelect(alert.time)}
      onMark={(alert, verdict) => press(marks.judged(alert), verdict, mayMark)}
    />
  );
  // Up to thousands of pictures: they are not compared while a level is dragged, only when an answer arrives.
  return useMemo(() => (
    <Card title="What would have alerted" actions={<Keys keys={[["j k", "move"], ["y", "right"], ["n", "wrong"], ["u", "undo"]]} />}>
      {nothing !== undefined && <p class="muted">{nothing}</p>}
      {answer && answer.alerts.length === 0 && <p class="muted">These settings raise no alert in this time.</p>}
      {answer && pictures(answer.alerts)}
      {answer && <More shown={answer.alerts.length} all={answer.then.alerts} limit={limit} onMore={onMore} />}
      {answer && answer.lost_alerts.length > 0 && (
        <>
          <hr class="rule" />
          <h3 class="tune-lost">Lost: {counted(total(answer.lost), "alert")} of the service</h3>
          {pictures(answer.lost_alerts)}
        </>
      )}
    </Card>
  ), [answer, nothing, selected, marks, mayMark, limit]);
}

function More({ shown, all, limit, onMore }: { shown: number; all: number; limit: number; onMore: () => void }) {
  if (shown >= all) return null;
  if (limit >= MOST) return <p class="muted small">The newest {count(shown)} of {count(all)} alerts are shown.</p>;
  return <div class="row tune-more"><Button onClick={onMore}>Show more of {count(all)}</Button></div>;
}

/** The keys: j and k move, y and n judge, u takes back. */
function useJudging(alerts: readonly TriedAlert[], selected: string | undefined, select: (time: string) => void, marks: Marks, mayMark: boolean) {
  const place = alerts.findIndex((alert) => alert.time === selected);
  const move = (to: number) => {
    const next = alerts[Math.min(Math.max(to, 0), alerts.length - 1)];
    if (!next) return;
    select(next.time);
    document.getElementById(pictureId(next.time))?.scrollIntoView({ block: "nearest" });
  };
  const current = alerts[place];
  useKeys({
    j: () => move(place + 1),
    k: () => move(place - 1),
    ...judgingKeys({
      current: current && marks.judged(current),
      mayMark,
      onFirst: () => move(0),
      onNext: () => move(place + 1),
      onUndone: (key) => {
        const at = alerts.findIndex((alert) => keyOf(marks.judged(alert)) === key);
        if (at >= 0) move(at);
        return at >= 0;
      },
    }),
  });
}
