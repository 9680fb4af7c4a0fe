# Sourced by the scripts beside it: makes .venv and keeps the installed package current.
#
# One rule: a run with nothing to do prints nothing and takes a blink. What was installed is
# remembered in a stamp per set of extras, holding a digest of the files that decide it.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
python=$venv/bin/python
stamps=$venv/.chaind-installed

say() { printf '%s\n' "$*" >&2; }
fail() { say "$*"; exit 69; } # EX_UNAVAILABLE of sysexits.h

# The versions for which every dependency has wheels. Run, not looked up: a pyenv shim exists
# for each version that any user ever installed, and fails when it is called.
version_supported() {
    "$1" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1
}

candidates() {
    if [ -n "${CHAIND_PYTHON:-}" ]; then
        printf '%s\n' "$CHAIND_PYTHON"
        return
    fi
    type -aP python3.11 python3.12 python3 python || true
    compgen -G "${PYENV_ROOT:-${HOME:-}/.pyenv}/versions/3.1[12].*/bin/python" || true
}

# Sets `base` to a Python that can make a working environment.
find_python() {
    local candidate without_venv=
    while IFS= read -r candidate; do
        version_supported "$candidate" || continue
        if "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            base=$candidate
            return
        fi
        without_venv=${without_venv:-$candidate}
    done < <(candidates)
    if [ -n "$without_venv" ]; then
        local minor
        minor=$("$without_venv" -c 'import sys; print("3.%d" % sys.version_info[1])')
        fail "$without_venv lacks the modules venv and ensurepip. Install them (Debian, Ubuntu:" \
            "apt-get install python$minor-venv) or name another Python: CHAIND_PYTHON=/path/to/python3.11"
    fi
    if [ -n "${CHAIND_PYTHON:-}" ]; then
        fail "CHAIND_PYTHON=$CHAIND_PYTHON does not run as Python 3.11 or 3.12."
    fi
    fail "chaind needs Python 3.11 or 3.12, and none that runs was found. Install one (Debian 12:" \
        "apt-get install python3.11 python3.11-venv; Ubuntu 24.04: apt-get install python3.12" \
        "python3.12-venv) or name it: CHAIND_PYTHON=/path/to/python3.11"
}

# True when .venv runs, was made here (its scripts hold absolute paths, so a moved tree needs a
# new one), and is of the Python that CHAIND_PYTHON asks for, if it does.
venv_usable() {
    [ -x "$python" ] && grep -qsF -- "$venv" "$venv/pyvenv.cfg" && version_supported "$python" || return 1
    [ -z "${CHAIND_PYTHON:-}" ] ||
        [ "$("$CHAIND_PYTHON" -c "$identity" 2>/dev/null)" = "$("$python" -c "$identity")" ]
}
identity='import sys; print(sys.base_prefix, sys.version)'

# ensure_installed [EXTRA]: .venv exists and holds the package with that extra.
ensure_installed() {
    local extra=${1:-} digest stamp
    digest=$(cd "$root" && cksum setup.cfg pyproject.toml) || exit
    stamp=$stamps/${extra:-base}
    current "$stamp" "$digest" && return
    # One installer at a time. The lock is on a directory that is always there, so it leaves no
    # file, and is let go before anything long-lived is started.
    exec 9<"$root/scripts"
    flock 9
    if ! current "$stamp" "$digest"; then
        install "$extra" "$digest"
    fi
    exec 9<&-
}

current() {
    [ -f "$1" ] && [ "$(<"$1")" = "$2" ] && venv_usable
}

install() {
    local extra=$1 digest=$2 target=$root${1:+[$1]}
    if ! venv_usable; then
        find_python
        say "Making $venv with $("$base" --version) ($base)"
        "$base" -m venv --clear "$venv" || fail "$base could not make an environment in $venv."
    fi
    say "Installing chaind${extra:+[$extra]} into $venv (the first time takes about a minute)"
    "$python" -m pip install --disable-pip-version-check --no-input --editable "$target" >&2 ||
        fail "The installation failed; what pip says stands above. Run the same command again once it is mended."
    mkdir -p "$stamps"
    printf '%s\n' "$digest" >"$stamps/base" # every extra includes the base
    [ -z "$extra" ] || printf '%s\n' "$digest" >"$stamps/$extra"
}

# The dashboard is tested in Chromium. It is installed where nobody need be asked: by root, on a
# Debian. Elsewhere those tests are skipped, and this says so.
ensure_browser() {
    local command
    for command in "${CHAIND_CHROMIUM:-chromium}" chromium chromium-browser; do
        ! type -P "$command" >/dev/null || return 0
    done
    if [ "$(id -u)" = 0 ] && grep -qs '^ID=debian$' /etc/os-release; then
        say "Installing Chromium, for the tests of the dashboard"
        if timeout 90 apt-get update -qq >&2 &&
            DEBIAN_FRONTEND=noninteractive timeout 240 apt-get install -y -qq \
                --no-install-recommends chromium fonts-dejavu-core >&2; then
            return 0
        fi
    fi
    say "*** There is no Chromium here: the dashboard will NOT be tested. Install it (Debian:" \
        "apt-get install chromium) or name one: CHAIND_CHROMIUM=/path/to/chromium. ***"
}
