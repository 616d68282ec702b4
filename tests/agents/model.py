"""A scripted model that works on a task with the tools that it is offered: reads a file, edits it, runs a command, and
says that it is done. It knows an agent's tools by their names and fills in what their schemas ask for.
"""

import json
from base64 import b64encode

from fake_dialects import answer, dialect_of
from speakers import Call, Text, Thought

BEFORE, AFTER = "The river is dry.", "The river runs again."
FILE, PROOF = "notes.txt", "proof.txt"
TASK = f"Task 4711: read {FILE}, replace its sentence, then run a command that writes {PROOF}."
DONE = "Task 4711 is done."
COMMAND = f"cat {FILE} > {PROOF}"

READERS = ("Read", "read_file", "read", "view", "read_many_files", "read_files")
EDITORS = ("Edit", "replace", "edit", "str_replace", "editor")
SHELLS = ("Bash", "exec_command", "run_shell_command", "bash", "shell_command", "shell", "local_shell", "run_commands")
# Properties that a call needs also where its schema leaves them open.
NEEDED = ("cmd", "absolutepath", "oldstr", "newstr", "oldtext")

# What the properties of the tools of all agents hold, by their names without underscores.
EDIT_BLOCK = f"{FILE}\n<<<<<<< SEARCH\n{BEFORE}\n=======\n{AFTER}\n>>>>>>> REPLACE\n"


def tools_of(dialect, body):
    """The functions that a request offers: their schemas by name."""
    tools = body.get("tools") or []
    if dialect == "gemini":
        functions = [function for tool in tools for function in tool.get("functionDeclarations", [])]
        return {it["name"]: it.get("parametersJsonSchema") or it.get("parameters") or {} for it in functions}
    if dialect == "anthropic":
        return {it["name"]: it.get("input_schema") or {} for it in tools if "name" in it}
    if dialect == "chat":
        return {it["function"]["name"]: it["function"].get("parameters") or {} for it in tools}
    return {it["name"]: it.get("parameters") or {} for it in tools if it["type"] == "function"}


def results_in(dialect, body):
    """The number of tool results in a request's conversation."""
    if dialect == "responses":
        return sum(item.get("type", "").endswith("_output") for item in body["input"] if isinstance(item, dict))
    if dialect == "chat":
        return sum(message["role"] == "tool" for message in body["messages"])
    if dialect == "anthropic":
        contents = [message["content"] for message in body["messages"]]
        blocks = [block for content in contents if isinstance(content, list) for block in content]
        return sum(block["type"] == "tool_result" for block in blocks)
    parts = [part for content in body["contents"] for part in content["parts"]]
    return sum("functionResponse" in part for part in parts)


def thoughts_in(dialect, body):
    """The sealed thoughts that a request brings back: text and seal of each. Gemini's seals stand on what comes next."""
    if dialect == "responses":
        items = [item for item in body["input"] if item.get("type") == "reasoning" and item.get("encrypted_content")]
        return [("".join(part["text"] for part in item["summary"]), item["encrypted_content"]) for item in items]
    if dialect == "anthropic":
        contents = [message["content"] for message in body["messages"] if isinstance(message["content"], list)]
        blocks = [block for content in contents for block in content if block["type"] == "thinking"]
        return [(block["thinking"], block["signature"]) for block in blocks]
    if dialect == "chat":
        details = [detail for message in body["messages"] for detail in message.get("reasoning_details") or []]
        return [(None, detail["signature"]) for detail in details if detail.get("signature")]
    parts = [part for content in body["contents"] for part in content["parts"]]
    seals = [part["thoughtSignature"] for part in parts if "thoughtSignature" in part]
    return [(None, seal) for seal in seals if seal != "skip_thought_signature_validator"]


class Model:
    """The script of one run in a folder. `problems` is what an agent did that the script does not know."""

    def __init__(self, folder):
        self.folder = folder
        self.steps = []
        self.problems = []
        self.offered = set()
        self.sealed = {}
        self.returned = set()

    def __call__(self, exchange):
        dialect, body = dialect_of(exchange), exchange.json()
        try:
            parts, finish = self.play(dialect, body)
        except Exception as error:  # an agent must get an answer, whatever it asked
            self.problems.append(f"{type(error).__name__}: {error}")
            parts, finish = [Text("I can't.")], "stop"
        answer(*parts, finish=finish)(exchange)

    def play(self, dialect, body):
        tools = tools_of(dialect, body)
        said = json.dumps(body)
        self.offered |= set(tools)
        self.look_at_thoughts(dialect, body)
        if "SEARCH/REPLACE" in said:
            self.steps.append("edit")
            return [Text(f"{EDIT_BLOCK}\n{DONE}")], "stop"
        if "Task 4711" not in said or not self.find(tools, SHELLS):
            return [Text("A task")], "stop"
        count = results_in(dialect, body)
        if count >= 3:
            self.steps.append("answer")
            return [Text(DONE)], "stop"
        step = ("read", "edit", "run")[count]
        name, arguments = self.call(step, tools)
        self.steps.append(step)
        thought = f"I think of how to {step}."
        seal = b64encode(f"signed {step}".encode()).decode()
        self.sealed[seal] = thought
        return [Thought(thought, seal), Text(f"I {step}. "), Call(f"call_{step}", name, arguments)], "tools"

    def look_at_thoughts(self, dialect, body):
        """A provider refuses a thought that is not what it has sealed."""
        for text, seal in thoughts_in(dialect, body):
            self.returned.add(seal)
            if seal not in self.sealed or text not in (None, self.sealed[seal]):
                self.problems.append(f"a thought came back as {text!r} with the seal {seal!r}")

    def find(self, tools, names):
        """The first tool of those names, whatever namespace stands before it."""
        return next((tool for name in names for tool in tools if tool == name), None)

    def call(self, step, tools):
        shell = self.find(tools, SHELLS)
        reader, editor = self.find(tools, READERS), self.find(tools, EDITORS)
        if step == "read" and reader:
            return reader, self.fill(tools[reader])
        if step == "edit" and editor:
            return editor, self.fill(tools[editor])
        command = {
            "read": f"cat {FILE}",
            "edit": f"sed -i 's/{BEFORE}/{AFTER}/' {FILE}",
            "run": COMMAND,
        }[step]
        return shell, self.fill(tools[shell], command)

    def fill(self, schema, command=COMMAND):
        path = str(self.folder / FILE)
        known = {
            "filepath": path, "absolutepath": path, "path": path,
            "oldstring": BEFORE, "newstring": AFTER, "oldstr": BEFORE, "newstr": AFTER, "oldtext": BEFORE, "newtext": AFTER,
            "files": [{"path": path}], "commands": [command], "cmd": command, "instruction": "Replace the sentence.", "description": "Runs the command.",
            "isbackground": False, "dirpath": str(self.folder),
        }
        arguments = {}
        for name, property in schema.get("properties", {}).items():
            key = name.replace("_", "").lower()
            if key == "command":
                is_list = property.get("type") == "array"
                arguments[name] = ["bash", "-lc", command] if is_list else command
            elif key in known and (name in schema.get("required", []) or key in NEEDED):
                arguments[name] = known[key]
            elif name in schema.get("required", []):
                arguments[name] = "x"
        return arguments
