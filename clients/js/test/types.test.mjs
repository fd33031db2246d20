/** That the types are true, as far as a compiler can tell: for the exports, and for the README's examples. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

import * as shaddock from '../shaddock.js';

const here = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url));
const types = here('shaddock.d.ts');

/** Files of this package that are never written. */
const modules = new Map();
const examples = [...readFileSync(here('README.md'), 'utf8').matchAll(/^```(js|html)\n(.*?)^```/gms)];
for (const [n, [, kind, text]] of examples.entries()) {
  modules.set(here(`example${n}.mjs`), kind === 'js' ? text : /<script.*?>(.*)<\/script>/s.exec(text)[1]);
}
const wrong = here('wrong.mjs');
modules.set(wrong, "import { connect } from 'shaddock-client';\nawait connect({ url: 'ws://a', timeout: 1 });");

const program = compile();

test('what is declared is exported, and nothing else', () => {
  const checker = program.getTypeChecker();
  const symbols = checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(types)));
  const values = symbols.filter(({ flags }) => flags & ts.SymbolFlags.Value).map(({ name }) => name);
  assert.deepEqual(values.sort(), Object.keys(shaddock).sort());
});

test("the README's examples compile", () => {
  assert.equal(examples.length, 2);
  for (const file of modules.keys()) {
    const source = program.getSourceFile(file);
    const complaints = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
    const texts = complaints.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
    if (file === wrong) assert.match(texts.join(), /'timeout' does not exist in type 'Options'/);
    else assert.deepEqual(texts, [], file);
  }
});

function compile() {
  const { config } = ts.readConfigFile(here('tsconfig.json'), ts.sys.readFile);
  const { options } = ts.convertCompilerOptionsFromJson({ ...config.compilerOptions, noImplicitAny: false }, here('.'));
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (name) => modules.has(name) || fileExists(name);
  host.readFile = (name) => modules.get(name) ?? readFile(name);
  host.getSourceFile = (name, target, ...rest) =>
    modules.has(name) ? ts.createSourceFile(name, modules.get(name), target, true) : getSourceFile(name, target, ...rest);
  return ts.createProgram([types, ...modules.keys()], options, host);
}
