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
  // An empty field means the setting in force.
  const typed = (key: "hold" | "for" | "cooldown") => (value: string) => onChange({ [key]: value || settings[key] });
  const of = (key: string) => (error?.where === key ? (error.remedy ?? error.problem) : undefined);
  return (
    <div class="tune-fields">
      {settings.rises && (
        <>
          <Level label="rise" value={thresholdOf(settings, tried)} error={of("rise")} onTyped={(rise) => onChange({ rise })} />
          <Level label="clear rise" value={clearOf(settings, tried)} error={of("clear_rise")} onTyped={(level) => onChange({ clear_rise: level })} />
        </>
      )}
      <Typed label="hold" value={text("hold")} error={of("hold")} onTyped={typed("hold")} />
      <Typed label="for" value={text("for")} error={of("for")} onTyped={typed("for")} />
      <Typed label="cooldown" value={text("cooldown")} error={of("cooldown")} onTyped={typed("cooldown")} />
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

/** A field for a rise. */
function Level({ label, value, error, onTyped }: {
  label: string;
  value: number | null;
  error: string | undefined;
  onTyped: (level: number) => void;
}) {
  const [isWrong, setWrong] = useState(false);
  const typed = (text: string) => {
    const level = Number(text.replace(",", "."));
    const isLevel = level > 0 && level <= 1;
    setWrong(!isLevel);
    if (!isLevel) return false;
    onTyped(level);
  };
  return <Typed label={label} value={String(value ?? "")} error={isWrong ? "Write a number above 0 and up to 1, such as 0.2." : error} onTyped={typed} />;
}

/** A field whose value counts when it is left, or with Enter. It keeps a text for which `onTyped` returns `false`. */
function Typed({ label, value, error, onTyped }: {
  label: string;
  value: string;
  error: string | undefined;
  onTyped: (value: string) => void | false;
}) {
  const [draft, setDraft] = useState(value);
  const [taken, setTaken] = useState(0);
  useEffect(() => setDraft(value), [value, taken]);
  const typed = (text: string) => {
    if (text.trim() === value && error === undefined) return;
    if (onTyped(text.trim()) !== false) setTaken((before) => before + 1);
  };
  return <Field label={label} value={draft} error={error} onInput={setDraft} onChange={typed} />;
}
