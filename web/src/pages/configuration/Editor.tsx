// The editor. It is in a shadow root: its library adds its styles to one as the policy of the page allows (adopted style sheets), and
// to a document as a <style> element, which the policy forbids.

import { type CompletionContext, type CompletionResult, autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { HighlightStyle, bracketMatching, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { type Diagnostic, lintKeymap, linter, setDiagnostics } from "@codemirror/lint";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState, type Extension } from "@codemirror/state";
import { EditorView, drawSelection, highlightActiveLine, highlightActiveLineGutter, hoverTooltip, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { useEffect, useRef } from "preact/hooks";
import type { ConfigProblem } from "./api";
import { keyAt, placeAt } from "./place";
import { type Schema, describe, suggestions } from "./schema";

/** What the page can do with its editor. */
export interface EditorHandle {
  /** Replaces the text; it can be undone. */
  replace: (text: string) => void;
  /** Moves the cursor to a line (from 1) and a character in it, and the focus to the editor. */
  goTo: (line: number, column?: number) => void;
  openSearch: () => void;
}

interface Props {
  /** The text at the beginning. Later texts arrive through the handle. */
  text: string;
  label: string;
  readOnly: boolean;
  schema?: Schema;
  problems: readonly ConfigProblem[];
  onChange: (text: string) => void;
  onSave: () => void;
  onReady: (handle: EditorHandle) => void;
}

/** An editor for YAML, with marks, completion and hover texts. */
export function Editor(props: Props) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView>(undefined);
  const latest = useRef(props);
  latest.current = props;
  const { readOnly, problems } = props;
  useEffect(() => {
    if (!host.current) return;
    const root = host.current.shadowRoot ?? host.current.attachShadow({ mode: "open" });
    const { text } = latest.current;
    const state = EditorState.create({ doc: text, extensions: extensions(text, latest) });
    const made = new EditorView({ state, root, parent: root });
    view.current = made;
    latest.current.onReady(handle(made));
    return () => {
      made.destroy();
      view.current = undefined;
    };
    // A new text is set through the handle: a second editor would lose what can be undone.
  }, []);
  useEffect(() => {
    view.current?.dispatch({ effects: writing.reconfigure(written(readOnly)) });
  }, [readOnly]);
  useEffect(() => {
    if (view.current) view.current.dispatch(setDiagnostics(view.current.state, marks(view.current.state, problems)));
  }, [problems]);
  return <div ref={host} class="editor" />;
}

const writing = new Compartment();

function written(readOnly: boolean): Extension {
  return [EditorState.readOnly.of(readOnly), EditorView.contentAttributes.of({ "aria-readonly": String(readOnly) })];
}

function handle(view: EditorView): EditorHandle {
  return {
    replace(text) {
      const { state } = view;
      view.dispatch({ changes: { from: 0, to: state.doc.length, insert: state.toText(text) } });
    },
    goTo(line, column = 1) {
      const found = view.state.doc.line(Math.min(Math.max(1, line), view.state.doc.lines));
      const anchor = found.from + units(found.text, column - 1);
      view.dispatch({ selection: { anchor }, effects: EditorView.scrollIntoView(anchor, { y: "center" }) });
      view.focus();
    },
    openSearch() {
      view.focus();
      const open = searchKeymap.find(({ key }) => key === "Mod-f");
      open?.run?.(view);
    },
  };
}

function extensions(text: string, latest: { current: Props }): Extension {
  return [
    lineNumbers(),
    highlightActiveLineGutter(),
    highlightActiveLine(),
    history(),
    drawSelection(),
    EditorState.allowMultipleSelections.of(true),
    indentUnit.of("  "),
    indentOnInput(),
    bracketMatching(),
    closeBrackets(),
    highlightSelectionMatches(),
    search({ top: true }),
    yaml(),
    syntaxHighlighting(colours),
    linter(null),
    autocompletion({ override: [(context) => complete(context, latest.current.schema)], icons: false }),
    hoverTooltip((view, at) => hover(view, at, latest.current.schema)),
    EditorView.lineWrapping,
    // The ends of lines stay as they are in the file.
    text.includes("\r\n") ? EditorState.lineSeparator.of("\r\n") : [],
    EditorView.contentAttributes.of({ "aria-label": latest.current.label, spellcheck: "false", autocapitalize: "off", tabindex: "0" }),
    EditorView.updateListener.of((update) => {
      if (update.docChanged) latest.current.onChange(update.state.sliceDoc());
    }),
    writing.of(written(latest.current.readOnly)),
    keymap.of([
      {
        key: "Mod-s",
        preventDefault: true,
        run: () => {
          latest.current.onSave();
          return true;
        },
      },
      // The tab key is not among them: it leaves the editor.
      ...closeBracketsKeymap,
      ...completionKeymap,
      ...searchKeymap,
      ...historyKeymap,
      ...lintKeymap,
      ...defaultKeymap,
    ]),
    theme,
  ];
}

/** The marks of the problems of the main file. */
function marks(state: EditorState, problems: readonly ConfigProblem[]): Diagnostic[] {
  return problems.flatMap((problem): Diagnostic[] => {
    if (!problem.is_main || problem.line == null || problem.line > state.doc.lines) return [];
    const line = state.doc.line(problem.line);
    const first = (problem.column ?? 1) - 1;
    const from = line.from + units(line.text, first);
    const to = line.from + units(line.text, first + (problem.length ?? 1));
    return [{ from, to: Math.max(from, Math.min(to, line.to)), severity: "error", message: problem.message, renderMessage: () => message(problem) }];
  });
}

/** The place of a character, which the service counts, in the units of a string. */
function units(text: string, characters: number): number {
  return Array.from(text).slice(0, characters).join("").length;
}

/** Texts only: the message may hold anything that is typed in the file. */
function message({ message, remedy }: ConfigProblem): HTMLElement {
  return block("mark", [element("p", "mark-message", message), ...(remedy ? [element("p", "mark-remedy", remedy)] : [])]);
}

function complete(context: CompletionContext, schema: Schema | undefined): CompletionResult | null {
  if (!schema) return null;
  const text = context.state.doc.toString();
  const place = placeAt(text, context.pos);
  if (!place || (!context.explicit && context.pos === place.from && place.kind === "value")) return null;
  const typed = text.slice(place.from, context.pos);
  if (!context.explicit && typed === "") return null;
  // Behind a key that is typed already only its name is replaced.
  const hasColon = /^[\w-]*\s*:/.test(text.slice(context.pos));
  const options = suggestions(schema, place, text).map(({ label, insert, kind, detail, description }) => ({
    label,
    apply: kind === "key" && hasColon ? label : (insert ?? label),
    type: kind === "key" ? "property" : "constant",
    detail,
    info: description && (() => element("p", "hint", description)),
  }));
  return options.length === 0 ? null : { from: place.from, options, validFor: /^[\w:.-]*$/ };
}

function hover(view: EditorView, at: number, schema: Schema | undefined) {
  if (!schema) return null;
  const key = keyAt(view.state.doc.toString(), at);
  const found = key && describe(schema, key.path);
  if (!found) return null;
  const parts = [element("p", "hint-key", found.key), element("p", "hint-text", found.text)];
  if (found.words.length > 0) parts.push(element("p", "hint-note", `Values: ${found.words.join(", ")}`));
  if (found.fallback !== undefined) parts.push(element("p", "hint-note", `Default: ${found.fallback}`));
  return { pos: key.from, end: key.to, create: () => ({ dom: block("hint", parts) }) };
}

function element(name: "p", className: string, text: string): HTMLElement {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function block(className: string, children: HTMLElement[]): HTMLElement {
  const made = document.createElement("div");
  made.className = className;
  made.append(...children);
  return made;
}

const colours = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--accent)" },
  { tag: [tags.string, tags.special(tags.string), tags.content], color: "var(--text)" },
  { tag: [tags.comment, tags.lineComment], color: "var(--muted)", fontStyle: "italic" },
  { tag: [tags.punctuation, tags.separator, tags.squareBracket, tags.brace], color: "var(--muted)" },
  { tag: [tags.labelName, tags.typeName, tags.meta], color: "var(--right)" },
]);

/** The colours and sizes of the console. Its custom properties reach into the shadow root. */
const theme = EditorView.theme({
  "&": { color: "var(--text)", backgroundColor: "var(--surface)", height: "100%", fontSize: "13px" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--font-code)", lineHeight: "20px", overflow: "auto" },
  ".cm-content": { padding: "8px 0", caretColor: "var(--text)" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  ".cm-gutters": { backgroundColor: "var(--surface)", color: "var(--muted)", border: "none", paddingRight: "4px" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "var(--sunken)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": { background: "var(--accent-span)" },
  ".cm-selectionMatch, .cm-searchMatch": { backgroundColor: "var(--problem-soft)" },
  ".cm-searchMatch-selected": { outline: "1px solid var(--problem)" },
  "&.cm-focused .cm-matchingBracket": { backgroundColor: "var(--accent-soft)", outline: "1px solid var(--accent)" },
  // The marks of the library are pictures in addresses, which the policy of the page forbids.
  ".cm-lintRange-error, .cm-lintRange-active": { backgroundImage: "none", backgroundColor: "var(--problem-soft)", textDecoration: "underline wavy var(--problem) 1px", textUnderlineOffset: "3px" },
  ".cm-lintPoint::after": { borderBottomColor: "var(--problem)" },
  ".cm-tooltip": { backgroundColor: "var(--surface)", color: "var(--text)", border: "1px solid var(--line-strong)", borderRadius: "8px", fontFamily: "var(--font)", maxWidth: "min(420px, 86vw)" },
  ".cm-diagnostic": { borderLeft: "none", padding: "8px 12px" },
  ".mark p, .hint p, p.hint": { margin: "0", whiteSpace: "pre-wrap" },
  ".mark-message": { color: "var(--problem)" },
  ".mark-remedy": { marginTop: "4px" },
  ".hint": { padding: "8px 12px" },
  ".hint-key": { fontWeight: "650" },
  ".hint-note": { color: "var(--muted)" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--font-code)", maxHeight: "240px" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "2px 12px", lineHeight: "20px" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li[aria-selected]": { backgroundColor: "var(--accent-fill)", color: "var(--on-accent)" },
  ".cm-completionDetail": { fontStyle: "normal", opacity: "1" },
  ".cm-completionMatchedText": { textDecoration: "none", fontWeight: "650" },
  ".cm-completionInfo": { padding: "8px 12px" },
  ".cm-panels": { backgroundColor: "var(--sunken)", color: "var(--text)" },
  ".cm-panels.cm-panels-top": { borderBottom: "1px solid var(--line)" },
  ".cm-panel.cm-search": { padding: "8px 28px 8px 12px" },
  ".cm-panel.cm-search label": { fontSize: "12px" },
  ".cm-textfield": { border: "1px solid var(--line-strong)", borderRadius: "6px", backgroundColor: "var(--surface)", color: "var(--text)", padding: "4px 8px" },
  ".cm-button": { backgroundImage: "none", backgroundColor: "var(--surface)", color: "var(--text)", border: "1px solid var(--line)", borderRadius: "6px", padding: "4px 8px" },
  ".cm-panel button[name=close]": { color: "var(--muted)", minWidth: "24px", minHeight: "24px" },
  ".cm-panel :focus-visible": { outline: "2px solid var(--accent)", outlineOffset: "1px" },
  ".cm-panel.cm-panel-lint ul [aria-selected]": { backgroundColor: "var(--accent-soft)" },
});
