// The state of the service: what needs a person, the facts, the checks, the newest problems of the log, and a file for someone who helps.

import { useEffect, useRef, useState } from "preact/hooks";
import { sentence } from "../format";
import { Button } from "../parts/Button";
import { Card } from "../parts/Card";
import { Heading } from "../parts/Heading";
import { Problem } from "../parts/Problem";
import { Tag } from "../parts/Tag";
import { Time } from "../parts/Time";
import { useRequest } from "../request";
import { useMayChange } from "../session";
import { BundleDialog } from "./system/Bundle";
import { Checks } from "./system/Checks";
import { DeliveryCard, HistoryCard, MachineCard, ModelCard, ResourcesCard, ServiceCard } from "./system/cards";
import { type Advice, type Facts, facts as ask } from "./system/facts";

/** The facts are asked for once in this time, while the page is visible. */
const EVERY_MS = 10_000;

export default function Page() {
  const { answer: facts, error, reload } = useRequest(ask, []);
  const mayChange = useMayChange();
  const [isBundling, setBundling] = useState(false);
  useEvery(EVERY_MS, reload);
  return (
    <>
      <Heading
        title="System"
        aside={facts && <Button disabled={!mayChange} onClick={() => setBundling(true)}>Download a support bundle</Button>}
      />
      <div class="stack">
        {error && <Problem error={error} onRetry={reload} />}
        {facts && <Attention problems={facts.problems} />}
        {facts && (
          <div class="grid system-grid">
            <ServiceCard facts={facts} />
            <ModelCard model={facts.model} />
            {facts.delivery && <DeliveryCard delivery={facts.delivery} />}
            <HistoryCard history={facts.history} />
            <ResourcesCard facts={facts} />
            <MachineCard facts={facts} />
            <Checks mayRun={mayChange} />
            <Log lines={facts.log} />
          </div>
        )}
      </div>
      {isBundling && facts && <BundleDialog files={facts.bundle} onClose={() => setBundling(false)} />}
    </>
  );
}

/** What needs a person. */
function Attention({ problems }: { problems: readonly Advice[] }) {
  if (problems.length === 0) return <p class="state state-well" role="status">Nothing needs you.</p>;
  return (
    <section class="problem system-attention" aria-label="What needs you">
      <h2>What needs you</h2>
      <ul>
        {problems.map((problem, number) => (
          <li key={number}>
            <p><strong>{problem.about}</strong>: {problem.what}</p>
            <p>{sentence(problem.remedy)}</p>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** The newest warnings and errors. */
function Log({ lines }: { lines: Facts["log"] }) {
  return (
    <Card title="Newest warnings and errors" class="system-wide">
      {lines.length === 0 && <p class="muted">None since the start.</p>}
      <ul class="system-log">
        {lines.map((line, number) => (
          <li key={number}>
            <Time at={line.at} />
            <Tag kind={line.level === "error" ? "wrong" : "problem"}>{line.level}</Tag>
            <span class="system-text">{line.text}</span>
          </li>
        ))}
      </ul>
    </Card>
  );
}

/** Calls `run` once in this time while the page is visible, and never more often. */
function useEvery(ms: number, run: () => void) {
  const latest = useRef(run);
  latest.current = run;
  useEffect(() => {
    let last = Date.now();
    const glance = () => {
      if (document.hidden || Date.now() - last < ms) return;
      last = Date.now();
      latest.current();
    };
    const timer = setInterval(glance, 1_000);
    document.addEventListener("visibilitychange", glance);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", glance);
    };
  }, [ms]);
}
