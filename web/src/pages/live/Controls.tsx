import { useState } from "preact/hooks";
import { type Request, type Schema, post } from "../../api";
import { Button } from "../../parts/Button";
import { Select } from "../../parts/Select";
import { toast } from "../../parts/Toast";
import { asApiError } from "../../request";
import { useMayChange } from "../../session";

/** A setting that was changed while the service runs. */
type SetValue = Schema<"SetValue">;

const SNOOZES = [
  { value: "", text: "Snooze" },
  { value: "15m", text: "15 minutes" },
  { value: "1h", text: "1 hour" },
  { value: "4h", text: "4 hours" },
  { value: "until 07:00", text: "until 07:00" },
] as const;

interface Props {
  /** The source. */
  source: string;
  /** The label, as `set/label`; without it, the source. */
  label?: string;
  /** Whether it is switched on. */
  enabled: boolean;
  /** What is set for it. */
  set: readonly SetValue[];
}

/** What is set for a source or a label, and by whom; and the ways to snooze it and to switch it on or off. */
export function Controls({ source, label, enabled, set }: Props) {
  const mayChange = useMayChange();
  const [isBusy, setBusy] = useState(false);
  const what = label ?? source;
  const snoozed = set.some((value) => value.setting === "snooze");
  // What changes is shown when the service says that it has changed.
  const send = async (change: () => Promise<unknown>) => {
    setBusy(true);
    try {
      await change();
    } catch (error) {
      toast(asApiError(error).message);
    }
    setBusy(false);
  };
  const target: Request<"enable"> = { source, ...(label !== undefined && { label }), by: "console" };
  const snooze = (length: string) => send(() => post("snooze", { ...target, for: length }));
  if (!mayChange && set.length === 0) return null;
  return (
    <div class="stack small">
      {mayChange && (
        <div class="row">
          {snoozed ? (
            <Button disabled={isBusy} onClick={() => void snooze("off")} label={`End snooze: ${what}`}>End snooze</Button>
          ) : (
            <Select
              label={`Snooze ${what}`}
              hideLabel
              value=""
              options={SNOOZES}
              disabled={isBusy || !enabled}
              onChange={(length) => length !== "" && void snooze(length)}
            />
          )}
          <Button
            disabled={isBusy}
            onClick={() => void send(() => post(enabled ? "disable" : "enable", target))}
            label={`Switch ${enabled ? "off" : "on"}: ${what}`}
          >
            {enabled ? "Switch off" : "Switch on"}
          </Button>
        </div>
      )}
      {set.map((value) => <p key={value.setting} class="muted">{value.sentence}</p>)}
    </div>
  );
}
