/**
 * What `fleetmove completion SHELL` prints. Each only asks `fleetmove complete -- WORDS…`, which answers with lines of a
 * word, a tab and a description, or with `:files` alone: so the script need not be renewed with fleetmove.
 */
export const shells = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof shells)[number]

/** bash may begin a word anew at = and :, which is why the words go over as bash has them. */
const bash = `# fleetmove completion for bash: eval "$(fleetmove completion bash)", or a file in
# ~/.local/share/bash-completion/completions named fleetmove.
_fleetmove() {
  local line reply
  COMPREPLY=()
  reply=$("\${COMP_WORDS[0]}" complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null) || return 0
  if [[ $reply == :files ]]; then
    compopt -o default 2>/dev/null
    return 0
  fi
  while IFS= read -r line; do
    [[ -n $line ]] && COMPREPLY+=("\${line%%$'\\t'*}")
  done <<<"$reply"
}
complete -F _fleetmove fleetmove
`

const zsh = `#compdef fleetmove
# fleetmove completion for zsh: eval "$(fleetmove completion zsh)" after compinit, or a file in $fpath named _fleetmove.
_fleetmove() {
  local line reply
  local -a values
  reply=$("$words[1]" complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null) || return 1
  if [[ $reply == :files ]]; then
    _files
    return
  fi
  for line in "\${(@f)reply}"; do
    [[ -n $line ]] && values+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done
  _describe fleetmove values
}
if [[ "\${funcstack[1]}" == _fleetmove ]]; then _fleetmove "$@"; else compdef _fleetmove fleetmove; fi
`

const fish = `# fleetmove completion for fish: fleetmove completion fish | source, or a file in
# ~/.config/fish/completions named fleetmove.fish.
function __fleetmove_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l reply (command $words[1] complete -- $words[2..-1] "$current" 2>/dev/null)
    if test "$reply" = :files
        __fish_complete_path "$current"
    else
        printf '%s\\n' $reply
    end
end
complete -c fleetmove -f -a '(__fleetmove_complete)'
`

export const shellScript = (shell: Shell): string => ({ bash, zsh, fish })[shell]
