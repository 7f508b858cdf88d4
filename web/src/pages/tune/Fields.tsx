import { useEffect, useState } from "preact/hooks";
import type { ApiError } from "../../api";
import { Field } from "../../parts/Field";
import { type Settings, type Tried, clearOf, thresholdOf } from "./types";

/** The settings that are no lines of the chart: hold, for, cooldown, active, and rises over a baseline. */
export function Fields({ settings, tried, error, onChange }: {
  settings: Settings;
  tried: Tried;
  /** Why the settings cannot be judged; `where` names the field. */
  error: ApiError | undefined;
  onChange: (changes: Tried) => void;
}) {
  const hours = tried.active ?? settings.active;
  const text = (key: "hold" | "for" | "cooldown") => tried[key] ?? settings[key];
  const of = (key: string) => (error?.where === key ? (error.remedy ?? error.problem) : undefined);
  return (
    <div class="tune-fields">
      {settings.rises && (
        <>
          <Typed label="rise" value={String(thresholdOf(settings, tried) ?? "")} error={of("rise")} onTyped={(value) => onChange(level("rise", value))} />
          <Typed label="clear rise" value={String(clearOf(settings, tried) ?? "")} error={of("clear_rise")} onTyped={(value) => onChange(level("clear_rise", value))} />
        </>
      )}
      <Typed label="hold" value={text("hold")} error={of("hold")} onTyped={(hold) => onChange({ hold })} />
      <Typed label="for" value={text("for")} error={of("for")} onTyped={(value) => onChange({ for: value })} />
      <Typed label="cooldown" value={text("cooldown")} error={of("cooldown")} onTyped={(cooldown) => onChange({ cooldown })} />
      <Typed
        label="active"
        value={hours.length > 0 ? hours.join("; ") : "always"}
        error={of("active")}
        onTyped={(value) => onChange({ active: hoursOf(value) })}
      />
    </div>
  );
}

/** Several hours are separated by `;`. An empty field means always. */
function hoursOf(text: string): string[] {
  const hours = text.split(";").map((part) => part.trim()).filter(Boolean);
  return hours.length > 0 ? hours : ["always"];
}

function level(key: "rise" | "clear_rise", text: string): Tried {
  const number = Number(text.replace(",", "."));
  return Number.isFinite(number) && number > 0 ? { [key]: number } : {};
}

/** A field whose value counts when it is left, or with Enter. */
function Typed({ label, value, error, onTyped }: { label: string; value: string; error: string | undefined; onTyped: (value: string) => void }) {
  const [draft, setDraft] = useState(value);
  useEffect(() => setDraft(value), [value]);
  const typed = (text: string) => {
    if (text.trim() !== value) onTyped(text.trim());
  };
  return <Field label={label} value={draft} error={error} onInput={setDraft} onChange={typed} />;
}
