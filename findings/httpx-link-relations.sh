# httpx's Response.links files a link with rel="next last" under the key "next last", so links["next"] is not there.
#
# A good guess: a link with several relations (RFC 8288 separates them by spaces) is found
# by each of them, in any case of letters.
# Seen: the whole attribute is the key, as it was written; a pager that looks for "next"
# takes the page for the last one, and reads a part of the list without an error.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet httpx==0.28.1
cat > "$folder/look.py" <<'PYTHON'
import httpx

print(f"httpx {httpx.__version__}")
surprises = 0
for header in ('<https://a.example/?page=2>; rel="next last"', '<https://a.example/?page=2>; rel="Next"'):
    links = httpx.Response(200, headers={"Link": header}).links
    print(header, "->", sorted(links))
    surprises += "next" not in links
raise SystemExit(surprises != 2)
PYTHON
"$folder/venv/bin/python" "$folder/look.py" || { echo "it has changed"; exit 1; }
