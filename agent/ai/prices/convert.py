#!/usr/bin/env python3
"""Takes what Weir needs out of a genai-prices wheel:

    pip download genai-prices --no-deps && python3 convert.py genai_prices-*.whl YYYY-MM-DD > genai-prices.json

The date is the day on which the prices are taken to be in force. The wheel's data is Python source; it is read, never run.
"""

import ast
import json
import re
import sys
import zipfile

PROVIDERS = ["anthropic", "deepseek", "groq", "mistral", "openai", "openrouter", "x-ai"]


def value(node):
    """Literals as they are, decimals as text, dates and times in ISO form, constructors as dictionaries."""
    match node:
        case ast.Constant():
            return node.value
        case ast.List():
            return [value(element) for element in node.elts]
        case ast.Dict():
            return {value(key): value(element) for key, element in zip(node.keys, node.values)}
        case ast.Call(func=ast.Name(id="Decimal")):
            return value(node.args[0])
        case ast.Call(func=ast.Attribute(attr="date")):
            return "{:04}-{:02}-{:02}".format(*map(value, node.args))
        case ast.Call(func=ast.Attribute(attr="time")):
            if [ast.unparse(keyword) for keyword in node.keywords] != ["tzinfo=datetime.UTC"]:
                raise ValueError("a time that is not UTC: " + ast.unparse(node))
            return ":".join(f"{value(argument):02}" for argument in node.args)
        case ast.Call(args=[]):
            return {keyword.arg.rstrip("_"): value(keyword.value) for keyword in node.keywords}
        case _:
            raise ValueError("cannot read " + ast.unparse(node))


def tokens(prices):
    """Prices per million tokens; searches, pages and hours are not Weir's to count."""
    return {kind.removesuffix("_mtok"): price for kind, price in prices.items() if kind.endswith("_mtok")}


def model(model):
    prices = model.get("prices", [])
    if isinstance(prices, dict):
        prices = [{"prices": prices}]
    return {
        "id": model["id"],
        "match": model["match"],
        "prices": [{**(price.get("constraint") or {}), "prices": tokens(price["prices"])} for price in prices],
    }


def main():
    wheel, date = sys.argv[1:]
    version = re.search(r"genai_prices-([^-]+)-", wheel)[1]
    source = zipfile.ZipFile(wheel).read("genai_prices/data.py").decode()
    (providers,) = [node.value for node in ast.parse(source).body if isinstance(node, ast.AnnAssign)]
    providers = {provider["id"]: provider for provider in map(value, providers.elts)}
    json.dump(
        {
            "source": f"genai-prices {version}",
            "in_force_on": date,
            "providers": {name: [model(each) for each in providers[name]["models"]] for name in PROVIDERS},
        },
        sys.stdout,
        indent=1,
    )
    print()


main()
