# What control.yml's driver does: everything that lkxctl can.
ctl=/usr/bin/lkxctl
field() { $ctl ls | awk -v name="$1" -v n="$2" '$1 == name { print $n }'; }
state() { field "$1" 2; }
pid() { field "$1" 4; }
until_is() { until [ "$(state "$1")" = "$2" ]; do sleep 0.3; done; }

until_is web running
until_is deaf running
$ctl ls
$ctl status
echo "onboot: $(state onboot/000-network), $(state onboot/001-hangs)"
echo "logs of onboot: $($ctl logs network)"
web=$($ctl ls | awk '$1 == "web"')
echo "web takes memory: $(echo "$web" | awk '$7 ~ /^[0-9.]+M$/ && $8 ~ /s$/ { print "yes" }')"

old=$(pid web)
kill -9 "$old"
until [ "$(field web 5)" = 1 ] && [ "$(state web)" = running ]; do sleep 0.3; done
echo "web was restarted: $(field web 5) $($ctl ls | awk '$1 == "web" { print $9, $10, $11 }')"

$ctl logs -f --stdout -n 2 web >/tmp/followed &
follower=$!
sleep 4
kill $follower
echo "followed: $(grep -c '^tick' /tmp/followed) lines, $(grep -c tock /tmp/followed) of the other stream" | sed 's/: [3-9] lines/: some lines/; s/: 1[0-9] lines/: some lines/'
echo "last of the flood: $($ctl logs -n 1 flood)"

$ctl stop web
echo "web is $(state web)"
deaf=$(pid deaf)
kill -9 $(pidof lkx-services)
until_is web stopped
until_is containerd running
sleep 3
echo "after lkx-services died: web $(state web) restarts $(field web 5), deaf $([ "$(pid deaf)" = "$deaf" ] && echo has kept its pid), containerd $(state containerd)"

for i in 1 2 3 4 5 6 7; do
	until [ "$(pid containerd)" -gt 0 ] 2>/dev/null; do sleep 0.1; done
	kill -9 "$(pid containerd)"
	until [ "$(field containerd 5)" -ge "$i" ]; do sleep 0.1; done
done
echo "containerd is $(state containerd), deaf $(state deaf) with $(field deaf 7)" | sed 's/[0-9.]*M$/memory/'
$ctl start web 2>&1
echo "exit code $?"
until_is containerd running
echo "after containerd died: deaf $([ "$(pid deaf)" = "$deaf" ] && echo has kept its pid), restarts $(field deaf 5)"

$ctl start web && $ctl restart web
$ctl restart wbe 2>&1
echo "exit code $?"
$ctl restart 000-network 2>&1
$ctl frob 2>&1
echo "exit code $?"
$ctl -H unix:///run/nothing.sock ls 2>&1
echo "exit code $?"
echo "over vsock: $($ctl -H vsock://1:1024 ls 2>&1 | awk '$1 == "deaf" { print $1, $2 }')"

until grep -q 'web.out tick' /var/log/kept/web.out.log; do sleep 0.3; done
echo "kept: $(ls /var/log/kept/flood.out.log* | tr '\n' ' ')"
$ctl logs lkx | grep -c 'service fails: exited' | sed 's/^/times that fails ran: /'
$ctl poweroff
sleep 1000
