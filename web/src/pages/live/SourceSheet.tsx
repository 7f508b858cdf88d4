import { useEffect, useState } from "preact/hooks";
import { Sheet } from "../../parts/Sheet";
import { Time } from "../../parts/Time";
import { score } from "../../format";
import { link } from "../../router";
import { Controls } from "./Controls";
import { Facts, Labels, SourceTrouble, State } from "./Lines";
import { Frame } from "./Frame";
import { type LiveLabel, isEnabled, isRule, isSwitchedOff, key, ownOf, sorted } from "./model";
import type { LiveStore } from "./store";

/** Gates and learnt levels change with each frame, without events. */
const REFRESH_MS = 5_000;

/** An opened source: its whole picture, all labels and why each is raised or not, and the ways to the other pages. */
export function SourceSheet({ store, name, onClose }: { store: LiveStore; name: string; onClose: () => void }) {
  const [, render] = useState(0);
  useEffect(() => {
    let refreshed = -REFRESH_MS;
    // `undefined` is a source without frames, which is asked about once.
    let frame: string | null | undefined = null;
    return store.watch(name, () => {
      render((before) => before + 1);
      // After a new frame only.
      const newest = store.get(name)?.source.frame?.captured_at;
      if (newest === frame || performance.now() - refreshed < REFRESH_MS) return;
      refreshed = performance.now();
      frame = newest;
      store.refresh(name).catch(() => undefined);
    });
  }, [store, name]);
  const state = store.get(name);
  if (!state) return null;
  const { source, picture } = state;
  const labels = sorted(source.labels);
  return (
    <Sheet
      title={name}
      onClose={onClose}
      actions={
        <nav class="row" aria-label={`Pages about ${name}`}>
          <a class="button" href={link("alerts", { source: name })}>Alerts</a>
          <a class="button" href={link("tune", { source: name })}>Tune</a>
          <a class="button" href={link("search", { source: name })}>Search</a>
        </nav>
      }
    >
      <div class="stack">
        <Frame source={source} picture={picture} whole />
        <div class="spread"><Facts source={source} /><State source={source} /></div>
        <SourceTrouble source={source} />
        <Controls source={name} enabled={isEnabled(source)} set={source.set ?? []} />
        <Labels state={state} labels={labels} />
        <h3>Why each label is raised or not</h3>
        <ul class="stack small">
          {labels.map((label) => (
            <li key={key(label)}>
              <a href={link("tune", { source: name, set: label.label_set, label: label.label })}>{nameOf(label)}</a>{" "}
              {label.raised ? (
                <>is raised{label.raised_since && <> <Time at={label.raised_since} prefix="since " /></>}.</>
              ) : (
                <span class="muted">{label.reason ?? "was not scored yet"}</span>
              )}{" "}
              <span class="muted number">{levels(label)}</span>{" "}
              <a href={link("alerts", { source: name, label: nameOf(label) })} aria-label={`Alerts of ${nameOf(label)}`}>Alerts</a>
              {isEnabled(source) && <Controls source={name} label={nameOf(label)} enabled={!isSwitchedOff(label)} set={ownOf(label)} />}
            </li>
          ))}
        </ul>
      </div>
    </Sheet>
  );
}

/** The name of a label as the filters of Alerts take it. */
function nameOf(label: LiveLabel): string {
  return `${label.label_set}/${label.label}`;
}

function levels(label: LiveLabel): string {
  if (isRule(label)) return "";
  const facts = [`threshold ${score(label.threshold)}`];
  if (label.clear_below !== label.threshold) facts.push(`clear below ${score(label.clear_below)}`);
  if (label.baseline != null) facts.push(`usually ${score(label.baseline)}`);
  if (label.region != null) facts.push(`best in ${label.region}`);
  return `(${facts.join(", ")})`;
}
