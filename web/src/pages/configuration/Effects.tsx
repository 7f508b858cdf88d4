import { counted } from "../../format";
import { Tag } from "../../parts/Tag";
import type { LabelChange, Preview } from "./api";

const SOURCES = {
  starts: { word: "starts", kind: "right" },
  stops: { word: "stops", kind: "wrong" },
  restarts: { word: "restarts", kind: "problem" },
  changes: { word: "changes", kind: "plain" },
} as const;
const LABELS = {
  added: { word: "added", kind: "right" },
  removed: { word: "removed", kind: "wrong" },
  changed: { word: "changed", kind: "plain" },
} as const;
/** The most entries of a list that are shown. */
const MOST = 100;

/** What a save would do. */
export function Effects({ preview }: { preview: Preview }) {
  const { changes, sources, labels, keys, after_restart, refused } = preview;
  const others = keys.filter(({ after_restart: waits }) => !waits);
  return (
    <div class="stack">
      {refused.length > 0 && (
        <p class="problem-text">
          {refused.join(" and ")}: programs and libraries that the service runs are changed in the file on the machine only.
        </p>
      )}
      {!changes && <p class="muted">Nothing changes for the service.</p>}
      {sources.length > 0 && (
        <ul class="effects" aria-label="Sources">
          {sources.slice(0, MOST).map(({ source, effect }) => (
            <li key={source}>
              <span>{source}</span> <Tag kind={SOURCES[effect].kind}>{SOURCES[effect].word}</Tag>
            </li>
          ))}
        </ul>
      )}
      {labels.length > 0 && (
        <ul class="effects" aria-label="Labels">
          {labels.slice(0, MOST).map((change, index) => (
            <li key={index}>
              <span>{name(change)}</span> <Tag kind={LABELS[change.effect].kind}>{LABELS[change.effect].word}</Tag>
              {change.settings.map(({ key, before, after }) => (
                <span key={key} class="effects-setting">{key}: {shown(before)} → {shown(after)}</span>
              ))}
            </li>
          ))}
        </ul>
      )}
      {Math.max(sources.length, labels.length) > MOST && <p class="muted">Only the first {MOST} of each list are shown.</p>}
      {others.length > 0 && <p>{others.map(({ key }) => key).join(", ")}: {others.length === 1 ? "changes" : "change"} at once.</p>}
      {after_restart.length > 0 && (
        <p class="problem-text">{after_restart.join(", ")}: {after_restart.length === 1 ? "takes" : "take"} effect after a restart of the service.</p>
      )}
    </div>
  );
}

/** One sentence about it. */
export function summary({ changes, sources, labels }: Preview): string {
  if (!changes) return "Nothing changes for the service";
  const parts = [
    sources.length > 0 && counted(sources.length, "source"),
    labels.length > 0 && counted(labels.length, "label"),
  ].filter(Boolean);
  return parts.length === 0 ? "Settings change" : `A save changes ${parts.join(" and ")}`;
}

function name({ label_set, label, source }: LabelChange): string {
  const where = source == null ? "" : ` on ${source}`;
  return label == null ? `label set ${label_set}` : `${label_set}/${label}${where}`;
}

function shown(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  return typeof value === "string" ? value : JSON.stringify(value);
}
