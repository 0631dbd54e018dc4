# What the shells are given is well-formed, and bash's does what it should.
dino help --completion bash >bash.txt
dino help --completion zsh >zsh.txt
dino help --completion fish >fish.txt
for shell in bash zsh fish; do
    command -v $shell >/dev/null || continue
    $shell -n $shell.txt || echo "$shell: broken"
done
grep "seen_subcommand_from info' -l json" fish.txt
command -v bash >/dev/null || skip "no bash"
cat >probe.sh <<'END'
. ./bash.txt
probe()
{
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    _dino
    echo "${COMPREPLY[*]}"
}
probe dino inf
probe dino info --te
probe dino help --completion z
probe dino help inf
probe dino info mod
probe dino train plot --o
probe dino train --mi
END
bash probe.sh
