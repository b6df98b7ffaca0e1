"""Writes the results of cases as JUnit XML, which Azure Pipelines, GitHub's actions and most other tools read. Pure."""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from tools.console import printable
from tools.routes.cases.running import Result


def junit_xml(file: str, results: Sequence[Result]) -> str:
    """Return the document.

    :param file: the file of the cases, for people to read.
    """
    totals = {
        "name": file,
        "tests": str(len(results)),
        "failures": str(sum(bool(result.differences) for result in results)),
        "errors": "0",
        "skipped": "0",
        "time": f"{sum(result.seconds for result in results):.3f}",
    }
    root = ET.Element("testsuites")
    suite = ET.SubElement(root, "testsuite", totals)
    for result in results:
        about = {"classname": file, "name": printable(result.case.name), "file": file, "line": str(result.case.line)}
        element = ET.SubElement(suite, "testcase", {**about, "time": f"{result.seconds:.3f}"})
        if result.differences:
            # XML cannot contain all characters.
            texts = [printable(f"{file}:{each.line}: {each.text}") for each in result.differences]
            failure = ET.SubElement(element, "failure", {"message": printable(result.differences[0].text)})
            failure.text = "\n".join(texts)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"
