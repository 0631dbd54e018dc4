# What the cases share. Everything goes to standard output, in the order it was said.
exec 2>&1

# Run a command and print its exit status behind what it says.
try()
{
    "$@" 2>&1
    echo "-> $?"
}

# The same where files may have at most so many blocks of 512 bytes: a disk that fills up.
limited()
{
    limit=$1
    shift
    (ulimit -f "$limit"; try "$@") | cat
}

# A case that needs what is not here.
skip()
{
    echo "skipped: $*"
    exit 77
}

# The server's port differs from run to run.
no_port()
{
    sed 's/127.0.0.1:[0-9]*/HOST/g'
}

need_curl()
{
    dino get vits14 --base-url http://127.0.0.1:1 -q -o none 2>&1 | grep -q 'no libcurl' &&
        skip "this build has no libcurl"
}

# Start the web server over a folder; $URL is its address.
serve()
{
    "$TOOLS/range_server" "$1" "$SCRATCH/port" >"$SCRATCH/requests" &
    server=$!
    trap 'kill $server' EXIT
    for i in 1 2 3 4 5 6 7 8 9 10; do
        [ -s "$SCRATCH/port" ] && break
        sleep 0.1
    done
    URL=http://127.0.0.1:$(cat "$SCRATCH/port")
}
