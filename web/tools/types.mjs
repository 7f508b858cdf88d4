// Writes src/api-types.ts: the types of the API, from the OpenAPI document that the program prints. `node tools/types.mjs [FILE]`;
// STAKEOUT names the program, which is target/debug/stakeout otherwise.

import { execFileSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import openapiTS, { astToString } from "openapi-typescript";

const program = process.env.STAKEOUT ?? fileURLToPath(new URL("../../target/debug/stakeout", import.meta.url));
const file = process.argv[2] ?? fileURLToPath(new URL("../src/api-types.ts", import.meta.url));

const text = execFileSync(program, ["schema", "--api"], { encoding: "utf8", maxBuffer: 64 << 20 });
const types = astToString(await openapiTS(JSON.parse(text)));
await writeFile(file, `// The types of the API. Written by \`npm run types\` in web/. Do not edit.\n\n${types}`);
