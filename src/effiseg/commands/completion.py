"""`effiseg completion`: what makes a shell complete commands and options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from effiseg.config.command_line import parse_command

_BASH = """\
# Completion of effiseg for bash; in zsh, after `autoload -U bashcompinit; bashcompinit`, too.
_effiseg() {
    local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} options
    COMPREPLY=()
    if [[ $COMP_CWORD -eq 1 ]]; then
        COMPREPLY=($(compgen -W "@COMMANDS@" -- "$word"))
        return
    fi
    if [[ $command == data ]]; then
        if [[ $COMP_CWORD -eq 2 ]]; then
            COMPREPLY=($(compgen -W "@DATA@" -- "$word"))
            return
        fi
        command="data ${COMP_WORDS[2]}"
    fi
    if [[ $word == -* ]]; then
        options=$(effiseg $command --help-all 2>/dev/null | grep -oE '^ +--[A-Za-z0-9_.-]+')
        COMPREPLY=($(compgen -W "$options" -- "$word"))
    fi
}
complete -o default -o bashdefault -F _effiseg effiseg
"""
_FISH = """\
# Completion of effiseg for fish.
function __effiseg_options
    set -l words (commandline -opc)
    set -l command $words[2]
    test "$command" = data; and set command $words[2..3]
    effiseg $command --help-all 2>/dev/null | string match -rg '^ +(--[A-Za-z0-9_.-]+)'
end
complete -c effiseg -n __fish_use_subcommand -f -a '@COMMANDS@'
complete -c effiseg -n 'test (commandline -opc)[-1] = data' -f -a '@DATA@'
complete -c effiseg -n 'string match -q -- "-*" (commandline -ct)' -f -a '(__effiseg_options)'
"""


@dataclass(kw_only=True)
class _CompletionConfig:
    """Settings of `effiseg completion`."""

    shell: Literal["bash", "zsh", "fish"]
    """bash, zsh or fish."""


def run(argv: list[str]) -> int:
    """Parse, print the script."""
    config = parse_command(
        _CompletionConfig,
        argv,
        prog="effiseg completion",
        description="Print a script that makes a shell complete effiseg's commands and options.",
        words=("shell",),
        example='eval "$(effiseg completion bash)"',
    )
    from effiseg.commands.table import COMMANDS

    names = [command.name.split() for command in COMMANDS]
    script = _FISH if config.shell == "fish" else _BASH
    if config.shell == "zsh":
        print("autoload -U +X bashcompinit && bashcompinit")
    first = " ".join(dict.fromkeys(name[0] for name in names))
    print(
        script.replace("@COMMANDS@", first).replace("@DATA@", " ".join(n[1] for n in names if n[0] == "data")), end=""
    )
    return 0
