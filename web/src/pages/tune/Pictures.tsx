import { Button } from "../../parts/Button";
import { Picture } from "../../parts/Picture";
import { Tag } from "../../parts/Tag";
import { Time } from "../../parts/Time";
import { score } from "../../format";
import type { Marks } from "./marks";
import type { TriedAlert, Verdict } from "./types";

/** The alerts as pictures, each with its score, `new` or `lost`, and what a person said about it. */
export function Pictures({ alerts, selected, marks, mayMark, onSelect, onMark }: {
  alerts: readonly TriedAlert[];
  selected: string | undefined;
  marks: Marks;
  mayMark: boolean;
  onSelect: (alert: TriedAlert) => void;
  onMark: (alert: TriedAlert, verdict: Verdict) => void;
}) {
  return (
    <ul class="thumbs">
      {alerts.map((alert, index) => {
        const verdict = marks.of(alert);
        const isSelected = alert.time === selected;
        return (
          <li
            key={alert.time}
            id={pictureId(alert.time)}
            class={`tried ${isSelected ? "tried-selected" : ""}`}
            aria-current={isSelected ? "true" : undefined}
            onClick={() => onSelect(alert)}
          >
            <Picture
              address={alert.picture}
              alt={`Alert with score ${score(alert.score)}`}
              score={alert.score}
              corner={alert.difference === "kept" ? undefined : <Tag kind={alert.difference === "new" ? "accent" : "plain"}>{alert.difference}</Tag>}
              eager={index < 6}
            />
            <div class="tried-foot">
              <Time at={alert.time} />
              {marks.hasFailed(alert) && <Tag kind="problem">not stored</Tag>}
              <Verdicts alert={alert} verdict={verdict} mayMark={mayMark} onMark={(wanted) => onMark(alert, wanted)} />
            </div>
          </li>
        );
      })}
    </ul>
  );
}

/** The identifier of the element of an alert. */
export function pictureId(time: string): string {
  return `tried-${time}`;
}

function Verdicts({ alert, verdict, mayMark, onMark }: {
  alert: TriedAlert;
  verdict: Verdict | null;
  mayMark: boolean;
  onMark: (verdict: Verdict) => void;
}) {
  if (!mayMark) return verdict && <Tag kind={verdict}>{verdict === "right" ? "✓ right" : "✕ wrong"}</Tag>;
  const what = new Date(alert.time).toLocaleString();
  return (
    <span class="tried-verdicts" role="group" aria-label={`Was the alert of ${what} right?`}>
      {verdict !== "wrong" && (
        <Button kind="quiet" class="tried-right" pressed={verdict === "right"} label="right" title="y" onClick={() => onMark("right")}>✓{verdict === "right" && " right"}</Button>
      )}
      {verdict !== "right" && (
        <Button kind="quiet" class="tried-wrong" pressed={verdict === "wrong"} label="wrong" title="n" onClick={() => onMark("wrong")}>✕{verdict === "wrong" && " wrong"}</Button>
      )}
    </span>
  );
}
