// Texts of people as values of the configuration.

/** `${` begins a reference in the configuration. A text that a person types means it as it is. */
export function literal(text: string): string {
  return text.replaceAll("${", () => "$${");
}
