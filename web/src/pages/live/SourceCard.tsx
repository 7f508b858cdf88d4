import { useEffect, useRef, useState } from "preact/hooks";
import { Tag } from "../../parts/Tag";
import { score } from "../../format";
import { link } from "../../router";
import { Facts, Labels, SourceTrouble, State } from "./Lines";
import { Frame } from "./Frame";
import { isRule, isShown, key, sorted } from "./model";
import type { LiveStore } from "./store";
import { useVisible } from "./useVisible";

/** The labels of a card at most; the opened source shows all of them. */
const MOST = 4;

/** One source. It renders alone, at most once a second and only while it is visible. */
export function SourceCard({ store, name, filter }: {
  store: LiveStore;
  name: string;
  /** Which sources the page shows. */
  filter: string;
}) {
  const card = useRef<HTMLLIElement>(null);
  const isVisible = useVisible(card);
  const [, render] = useState(0);
  useEffect(() => {
    if (isVisible) return store.watch(name, () => render((before) => before + 1));
  }, [isVisible, name, store]);
  const state = store.get(name);
  if (!state) return null;
  const { source, picture } = state;
  const raised = source.labels.filter((label) => label.raised);
  const labels = sorted(source.labels);
  const badges = raised.slice(0, 3).map((label) => (
    <Tag key={key(label)} kind="raised">{label.label} {!isRule(label) && score(label.score)}</Tag>
  ));
  const more = labels.length - MOST;
  return (
    <li ref={card} class={`card card-flush live-card ${raised.length > 0 ? "card-raised" : ""}`}>
      <Frame source={source} picture={picture} badges={badges} />
      <div class="card-body">
        <div class="spread">
          <h2><a class="live-open" href={link("live", { show: filter, source: name })}>{name}</a></h2>
          <State source={source} />
        </div>
        {isShown(source, "problems") ? <SourceTrouble source={source} /> : <Facts source={source} />}
        <Labels state={state} labels={labels.slice(0, MOST)} />
        {more > 0 && <p class="small muted">{more} more</p>}
      </div>
    </li>
  );
}
