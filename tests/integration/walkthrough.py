"""A reader who takes a page at its word, in a copy of the repository: makes the files it shows and the changes it shows, runs its commands.

In the sentence before a block stands which file it is about: in a diff the file to change, otherwise a new file. Blocks of `sh` are run.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from deploy.embedded.preflight import free_ports
from deploy.embedded.processes import marks
from tests.integration.line import PATIENCE

ROOT = Path(__file__).parents[2]
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "work", "results")


@dataclass
class Step:
    sentence: str
    file: str
    language: str
    text: str


class Reader:
    def __init__(self, settings, folder: Path):
        self.folder = folder
        shutil.copytree(ROOT, folder, ignore=NOT_COPIED)
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        self.environment = settings.environment(PATH=path, PYTHONPATH=str(folder), COLUMNS="200", **marks(settings.data, "reader"))
        self.workers: list[subprocess.Popen[bytes]] = []

    def steps(self, page: str, heading: str) -> Iterator[Step]:
        """What the section says is to be done."""
        sentence = Token("inline", "", 0)
        for token in section(MarkdownIt().parse((self.folder / page).read_text()), heading):
            if token.type == "inline":
                sentence = token
            elif token.type == "fence":
                yield Step(" ".join(sentence.content.split()), named(sentence), token.info, token.content)

    def follow(self, page: str, heading: str) -> str:
        """What the section's commands say."""
        return "".join(map(self.do, self.steps(page, heading)))

    def do(self, step: Step) -> str:
        if step.language == "sh":
            return self.run(step.text, in_background="terminal of its own" in step.sentence)
        if step.language == "diff":
            self.change(self.folder / step.file, step.text)
        else:
            self.write(self.folder / step.file, step.sentence, step.text)
        return ""

    def run(self, commands: str, *, in_background: bool = False) -> str:
        if in_background:
            # on this machine there may be other workers
            commands = f"exec {commands.strip()} --web-port {free_ports(1)[0]}"
            with (self.folder / "worker.log").open("wb") as log:
                self.workers.append(
                    subprocess.Popen(["bash", "-ec", commands], cwd=self.folder, env=self.environment, stdout=log, stderr=log)
                )
            return ""
        done = subprocess.run(
            ["bash", "-ec", commands], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        log = self.folder / "worker.log"
        assert done.returncode == 0, f"{commands}{done.stdout}{done.stderr}{log.read_text() if log.exists() else ''}"
        return done.stdout

    def change(self, file: Path, diff: str) -> None:
        lines = diff.splitlines(keepends=True)
        before = "".join(line[1:] or "\n" for line in lines if not line.startswith("+"))
        after = "".join(line[1:] or "\n" for line in lines if not line.startswith("-"))
        text = file.read_text()
        assert f"\n{text}".count(f"\n{before}") == 1, f"{file.name} has not, or not only once:\n{before}"
        file.write_text(f"\n{text}".replace(f"\n{before}", f"\n{after}")[1:])

    def write(self, file: Path, sentence: str, text: str) -> None:
        assert sentence.endswith(f"new file `{file.relative_to(self.folder)}`:"), sentence
        assert not file.exists()
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)

    def close(self) -> None:
        for worker in self.workers:
            worker.terminate()
            worker.wait(timeout=PATIENCE)


def section(tokens: list[Token], heading: str) -> Iterator[Token]:
    """The tokens from a heading to the next of its level or above."""
    level = ""
    for token, content in zip(tokens, [*tokens[1:], tokens[-1]], strict=True):
        if token.type == "heading_open":
            if content.content == heading:
                level = token.tag
            elif token.tag <= level:
                return
        if level:
            yield token
    assert level, f"there is no heading {heading}"


def named(sentence: Token) -> str:
    """The file a sentence is about: the last that it names, or links to."""
    children = sentence.children or []
    names = [child.content if child.type == "code_inline" else str(child.attrGet("href")) for child in children if is_name(child)]
    return names[-1] if names else ""


def is_name(token: Token) -> bool:
    return token.type in {"code_inline", "link_open"}
