show() { printf '\n$ %s\n' "$1"; eval "$1"; }

show 'env | grep -i -e key -e authorization'
show 'python3 app.py'
show 'python3 app.py --stream'
show 'curl --silent https://api.openai.com/v1/chat/completions --json @question.json'
show 'curl --silent --no-buffer https://api.openai.com/v1/chat/completions --json @question-stream.json'
