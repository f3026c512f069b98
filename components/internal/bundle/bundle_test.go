package bundle

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/lkx-os/lkx/components/internal/mnt"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestList(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "001-b"), "runtime.json", `{
	"cgroups": ["pods"],
	"mounts": [{"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m"]}],
	"mkdir": ["var/x"],
	"interfaces": [{"name": "veth0", "add": "veth", "peer": "veth1", "createInRoot": true}],
	"bindNS": {"net": "/run/netns/b", "cgroup": "", "ipc": "", "mnt": "", "pid": "", "user": "", "uts": ""},
	"namespace": "other",
	"restart": "always", "after": ["000-a"],
	"healthcheck": {"http": "http://:80/", "interval": "20s", "timeout": "1s", "retries": 2, "startPeriod": "1m"}}`)
	write(t, filepath.Join(dir, "000-a"), "config.json", `{}`)
	write(t, dir, "stray", "")
	got, err := List(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []*Bundle{
		{Dir: filepath.Join(dir, "000-a"), Name: "000-a"},
		{Dir: filepath.Join(dir, "001-b"), Name: "001-b", Runtime: Runtime{
			Cgroups:    []string{"pods"},
			Mounts:     []mnt.Mount{{Destination: "/t", Type: "tmpfs", Source: "tmpfs", Options: []string{"size=1m"}}},
			Mkdir:      []string{"var/x"},
			Interfaces: []Interface{{Name: "veth0", Add: "veth", Peer: "veth1", CreateInRoot: true}},
			BindNS:     BindNS{Net: "/run/netns/b"},
			Namespace:  "other",
			Restart:    "always",
			After:      []string{"000-a"},
			Healthcheck: &Healthcheck{
				HTTP: "http://:80/", Interval: "20s", Timeout: "1s", Retries: 2, StartPeriod: "1m",
			},
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if none, err := List(filepath.Join(dir, "missing")); err != nil || none != nil {
		t.Errorf("a missing directory gave %v, %v", none, err)
	}
	write(t, filepath.Join(dir, "002-c"), "runtime.json", `{"mounts": 1}`)
	got, err = List(dir)
	if err != nil || len(got) != 3 {
		t.Fatalf("a broken runtime.json left %d bundles, %v", len(got), err)
	}
	if err := got[2].Prepare(); err == nil || !strings.Contains(err.Error(), "002-c/runtime.json") {
		t.Errorf("preparing what has a broken runtime.json gave %v", err)
	}
}

func TestSpec(t *testing.T) {
	for _, c := range []struct{ in, root, cgroup string }{
		{`{"root": {"path": "rootfs", "readonly": true}, "process": {"oomScoreAdj": -900}}`, "/c/x/rootfs", "/lkx/x"},
		{`{"root": {"path": "/other"}, "linux": {"cgroupsPath": "/mine"}}`, "/other", "/mine"},
		{`{}`, "/c/x/rootfs", "/lkx/x"},
	} {
		out, err := (&Bundle{Dir: "/c/x"}).patch([]byte(c.in), "/lkx/x", "/helper")
		if err != nil {
			t.Fatal(err)
		}
		var got, in map[string]any
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(c.in), &in); err != nil {
			t.Fatal(err)
		}
		if r := object(got, "root")["path"]; r != c.root {
			t.Errorf("%s: root %v, want %s", c.in, r, c.root)
		}
		if g := object(got, "linux")["cgroupsPath"]; g != c.cgroup {
			t.Errorf("%s: cgroup %v, want %s", c.in, g, c.cgroup)
		}
		if got["hooks"] != nil {
			t.Errorf("%s: has hooks, with nothing for them to do: %v", c.in, got["hooks"])
		}
		if !reflect.DeepEqual(got["process"], in["process"]) {
			t.Errorf("%s: the process became %v", c.in, got["process"])
		}
	}
	if _, err := (&Bundle{Dir: "/c/x"}).patch([]byte("{"), "", ""); err == nil {
		t.Error("broken JSON gave no error")
	}
}

func TestSpecHook(t *testing.T) {
	b := &Bundle{Dir: "/c/x", Runtime: Runtime{BindNS: BindNS{Net: "/run/netns/x"}}}
	out, err := b.patch([]byte(`{"hooks": {"createRuntime": [{"path": "/own"}]}}`), "", "/helper")
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Hooks struct {
			CreateRuntime []struct {
				Path string
				Args []string
			}
		}
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	hooks := got.Hooks.CreateRuntime
	if len(hooks) != 2 || hooks[0].Path != "/own" || hooks[1].Path != "/helper" ||
		!reflect.DeepEqual(hooks[1].Args, []string{"/helper", "hook", "/c/x"}) {
		t.Errorf("got %+v", hooks)
	}
}

func TestPath(t *testing.T) {
	b := &Bundle{Dir: "/c/x"}
	for in, want := range map[string]string{"/a//b": "/a/b", "a": "/c/x/rootfs/a", "../../up": "/c/x/rootfs/up"} {
		if got := b.path(in); got != want {
			t.Errorf("path(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestProcess(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "config.json", `{"process": {"args": ["/bin/srv"], "terminal": true, "consoleSize": {"width": 80}, "env": ["A=b"],
	"user": {"uid": 7, "gid": 8}, "capabilities": {"bounding": ["CAP_KILL"]}, "cwd": "/w", "oomScoreAdj": -900}}`)
	text, err := (&Bundle{Dir: dir}).Process([]string{"/bin/check", "it"})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"args":["/bin/check","it"],"capabilities":{"bounding":["CAP_KILL"]},"cwd":"/w","env":["A=b"],` +
		`"oomScoreAdj":-900,"terminal":false,"user":{"gid":8,"uid":7}}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	if _, err := (&Bundle{Dir: dir + "/missing"}).Process(nil); err == nil {
		t.Error("a missing config.json gave no error")
	}
}

func TestMkdir(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	for config, want := range map[string][2]uint32{
		`{"process": {"user": {"uid": 7, "gid": 8}}}`: {7, 8},
		`{"process": {"user": {"uid": 7}}, "linux": {
			"uidMappings": [{"containerID": 0, "hostID": 100, "size": 5}, {"containerID": 5, "hostID": 200, "size": 5}],
			"gidMappings": [{"containerID": 0, "hostID": 300, "size": 1}]}}`: {202, 300},
	} {
		dir := t.TempDir()
		write(t, dir, "config.json", config)
		old, made := filepath.Join(dir, "old"), filepath.Join(dir, "a", "b")
		if err := os.Mkdir(old, 0o700); err != nil {
			t.Fatal(err)
		}
		b := &Bundle{Dir: dir, Runtime: Runtime{Mkdir: []string{old, made}}}
		for range 2 {
			if err := b.Prepare(); err != nil {
				t.Fatal(err)
			}
		}
		for name, want := range map[string][2]uint32{old: {0, 0}, filepath.Dir(made): {0, 0}, made: want} {
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if st := info.Sys().(*syscall.Stat_t); [2]uint32{st.Uid, st.Gid} != want {
				t.Errorf("%s: %s belongs to %d:%d, want %v", config, name, st.Uid, st.Gid, want)
			}
		}
	}
}

func TestSettings(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "config.json", `{"linux": {"resources": {"memory": {"limit": 1024}}}}`)
	got, err := (&Bundle{Dir: dir}).Settings()
	if want := (Settings{Memory: 1024}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}
