// Reads {tables: {name: "column: type, ..."}, queries: [text]} from standard input. Writes the errors and warnings of
// each query to standard output, as a list of {start, message} in the order of the text.
const { readFileSync } = require("node:fs");

const SERVICE = "@kusto/language-service-next/";
require(SERVICE + "bridge.min.js");
require(SERVICE + "Kusto.Language.Bridge.min.js");
const { GlobalState, KustoCode, Symbols } = globalThis.Kusto.Language;

const { tables, queries } = JSON.parse(readFileSync(0, "utf8"));
// The service is compiled from C#, which has several constructors for a class. These take a table's name, schema and
// description, and a database's name, alternate name and members.
const symbols = Object.entries(tables).map(([name, schema]) => new Symbols.TableSymbol.$ctor7(name, `(${schema})`, null));
const globals = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.$ctor2("logs", null, symbols));

const findings = queries.map((text) => {
  const found = KustoCode.ParseAndAnalyze(text, globals).GetDiagnostics();
  return Array.from({ length: found.Count }, (_, index) => found.getItem(index))
    .filter((each) => each.Severity === "Error" || each.Severity === "Warning")
    .map((each) => ({ start: each.Start, message: each.Message }))
    .sort((one, other) => one.start - other.start);
});
process.stdout.write(JSON.stringify(findings));
