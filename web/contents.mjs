// The order of the pages in the documentation, and their groups. The build fails if a page of docs/ is missing here.

/** `[title, paths from the root of the repository]` for each group. */
export const CONTENTS = [
  ["Start", ["README.md", "docs/home-assistant-in-ten-minutes.md", "docs/from-frigate.md", "docs/packaging.md", "docs/commands.md"]],
  ["What to watch for", ["docs/choosing-words.md", "docs/rules.md", "docs/tuning.md", "docs/why-no-alert.md", "docs/reload.md", "docs/models.md", "docs/devices.md", "models/bundled/README.md"]],
  ["Where frames come from", ["docs/sources.md", "docs/mqtt-sources.md"]],
  ["Use it", ["docs/console.md", "docs/home-assistant.md", "docs/node-red.md", "docs/history.md", "docs/privacy.md"]],
  ["Operate it", ["docs/fleet.md", "docs/scale-out.md", "docs/monitoring.md", "docs/troubleshooting.md", "docs/reliability.md", "docs/security.md", "SECURITY.md"]],
  ["Reference", ["docs/configuration.md", "docs/topics.md", "docs/api.md", "docs/how-it-works.md", "CHANGELOG.md", "CONTRIBUTING.md"]],
  [
    "Figures",
    [
      "docs/performance.md",
      "docs/performance-streams.md",
      "docs/accuracy.md",
      "docs/measurements/engine.md",
      "docs/measurements/streams.md",
      "docs/measurements/delivery.md",
      "docs/measurements/brokers.md",
      "docs/measurements/input.md",
      "docs/measurements/latency.md",
      "docs/measurements/accuracy.md",
    ],
  ],
];

/** Names of pages that do not follow from their path. */
export const NAMES = {
  "README.md": "index.html",
  "CHANGELOG.md": "changes.html",
  "CONTRIBUTING.md": "contributing.html",
  "SECURITY.md": "reporting.html",
  "models/bundled/README.md": "bundled-model.html",
};
