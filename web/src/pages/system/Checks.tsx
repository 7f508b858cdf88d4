// The checks of `doctor`: they run when someone asks for them.

import { useState } from "preact/hooks";
import type { ApiError } from "../../api";
import { counted } from "../../format";
import { Button } from "../../parts/Button";
import { Card } from "../../parts/Card";
import { Problem } from "../../parts/Problem";
import { Tag } from "../../parts/Tag";
import { Time } from "../../parts/Time";
import { asApiError } from "../../request";
import { type Check, check as runChecks } from "./facts";

type Checked = Awaited<ReturnType<typeof runChecks>>;

/** What is wrong is first. */
const ORDER: readonly Check["state"][] = ["problem", "warning", "ok"];
const TAGS = { ok: "right", warning: "problem", problem: "wrong" } as const;

/** A button that runs the checks, and their result. */
export function Checks({ mayRun }: { mayRun: boolean }) {
  const [isBusy, setBusy] = useState(false);
  const [checked, setChecked] = useState<Checked>();
  const [error, setError] = useState<ApiError>();
  const run = async () => {
    setBusy(true);
    setError(undefined);
    try {
      setChecked(await runChecks());
    } catch (thrown) {
      setError(asApiError(thrown));
    }
    setBusy(false);
  };
  return (
    <Card
      title="Checks"
      class="system-wide"
      actions={<Button busy={isBusy} disabled={!mayRun} onClick={() => void run()}>{isBusy ? "Checking" : "Run the checks"}</Button>}
    >
      <p class="muted" role="status">{status(isBusy, mayRun, checked)}{checked && !isBusy && <> <Time at={checked.at} /></>}</p>
      {error && <Problem error={error} />}
      {checked && (
        <ul class="system-checks" aria-label="Results of the checks">
          {sorted(checked.checks).map((check, number) => <Result key={number} check={check} />)}
        </ul>
      )}
    </Card>
  );
}

function Result({ check }: { check: Check }) {
  return (
    <li>
      <Tag kind={TAGS[check.state]}>{check.state}</Tag>
      <div>
        <p><strong>{check.check}</strong></p>
        <p class="system-text">{check.what}</p>
        {check.remedy != null && <p class="problem-text">{check.remedy}</p>}
      </div>
    </li>
  );
}

function status(isBusy: boolean, mayRun: boolean, checked: Checked | undefined): string {
  if (!mayRun) return "You may look and not run the checks: they connect to the broker and to cameras.";
  if (isBusy) return "The broker, the disk, the libraries and every source are checked. That takes up to a minute.";
  if (!checked) return "Checks the broker, the disk, the libraries and every source, and says what to do.";
  const counts = (state: Check["state"]) => checked.checks.filter((check) => check.state === state).length;
  return `${counted(counts("problem"), "problem")}, ${counted(counts("warning"), "warning")}, ${counts("ok")} right; checked`;
}

/** The order of the service, but what is wrong first. */
function sorted(checks: readonly Check[]): Check[] {
  return ORDER.flatMap((state) => checks.filter((check) => check.state === state));
}
