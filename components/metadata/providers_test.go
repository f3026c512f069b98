package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// served are the answers by provider and request.
var served = map[string]string{
	"aws PUT /latest/api/token":                                "secret",
	"aws GET /latest/meta-data/instance-id":                    "i-1",
	"aws GET /latest/meta-data/hostname":                       "a.internal",
	"aws GET /latest/user-data":                                "data",
	"aws GET /latest/meta-data/public-keys/":                   "0=one\n1=two",
	"aws GET /latest/meta-data/public-keys/0/openssh-key":      "ssh-rsa A a\n",
	"aws GET /latest/meta-data/public-keys/1/openssh-key":      "ssh-rsa B b",
	"gcp GET /computeMetadata/v1/instance/id":                  "42",
	"gcp GET /computeMetadata/v1/instance/hostname":            "g.internal",
	"gcp GET /computeMetadata/v1/instance/attributes/userdata": "data",
	"gcp GET /computeMetadata/v1/instance/attributes/ssh-keys": "me:ssh-rsa A a\n",
	"gcp GET /computeMetadata/v1/project/attributes/ssh-keys":  "me:ssh-rsa B b\nyou:ssh-rsa C c",
	"hetzner GET /hetzner/v1/metadata":                         "hostname: h\ninstance-id: 7\npublic-keys:\n- ssh-rsa A a\n",
	"hetzner GET /hetzner/v1/userdata":                         "data",
	"digitalocean GET /metadata/v1.json":                       `{"droplet_id": 12345678901, "hostname": "d", "user_data": "data", "public_keys": ["ssh-rsa A a"]}`,
	"openstack GET /openstack/latest/meta_data.json":           `{"uuid": "u-1", "hostname": "o", "public_keys": {"b": "ssh-rsa B b\n", "a": "ssh-rsa A a\n"}}`,
	"openstack GET /openstack/latest/user_data":                "data",
	"azure GET /metadata/instance":                             `{"compute": {"name": "vm", "vmId": "v-1", "userData": "ZGF0YQ==", "osProfile": {"computerName": "z"}, "publicKeys": [{"keyData": "ssh-rsa A a\r\n"}]}}`,
}

var wanted = map[string]data{
	"aws":          {host: "a.internal", instance: "i-1", user: []byte("data"), keys: []string{"ssh-rsa A a", "ssh-rsa B b"}},
	"gcp":          {host: "g.internal", instance: "42", user: []byte("data"), keys: []string{"ssh-rsa A a", "ssh-rsa B b", "ssh-rsa C c"}},
	"hetzner":      {host: "h", instance: "7", user: []byte("data"), keys: []string{"ssh-rsa A a"}},
	"digitalocean": {host: "d", instance: "12345678901", user: []byte("data"), keys: []string{"ssh-rsa A a"}},
	"openstack":    {host: "o", instance: "u-1", user: []byte("data"), keys: []string{"ssh-rsa A a", "ssh-rsa B b"}},
	"azure":        {host: "z", instance: "v-1", user: []byte("data"), keys: []string{"ssh-rsa A a"}},
}

// headers are those without which a provider does not answer.
var headers = map[string][2]string{
	"aws": {"X-Aws-Ec2-Metadata-Token", "secret"}, "gcp": {"Metadata-Flavor", "Google"}, "azure": {"Metadata", "true"},
}

// serve is a provider that fails once before it answers.
func serve(t *testing.T, provider string) *httptest.Server {
	t.Helper()
	failed := false
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !failed {
			failed = true
			http.Error(w, "not yet", http.StatusServiceUnavailable)
			return
		}
		if h, ok := headers[provider]; ok && r.Method != http.MethodPut && r.Header.Get(h[0]) != h[1] {
			http.Error(w, "no "+h[0], http.StatusUnauthorized)
			return
		}
		answer, ok := served[provider+" "+r.Method+" "+r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Metadata-Flavor", "Google")
		io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestProviders(t *testing.T) {
	for name, want := range wanted {
		o := options{urls: map[string]string{name: serve(t, name).URL}, timeout: 10 * time.Second}
		got, err := fetch(o, name)
		if (got.ready != nil) != (name == "azure") {
			t.Errorf("%s: ready is %v", name, got.ready != nil)
		}
		got.ready = nil
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
		}
		empty := httptest.NewServer(http.NotFoundHandler())
		defer empty.Close()
		o.urls[name] = empty.URL
		if _, err := fetch(o, name); !errors.Is(err, errAbsent) {
			t.Errorf("%s: a server without says %v", name, err)
		}
	}
}

func TestTimeLimit(t *testing.T) {
	began := time.Now()
	_, err := fetch(options{urls: map[string]string{"aws": "http://127.0.0.1:1"}, timeout: 300 * time.Millisecond}, "aws")
	if took := time.Since(began); !errors.Is(err, errAbsent) || took > 5*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
}

func TestCorruptAnswers(t *testing.T) {
	for name, answer := range map[string]string{
		"digitalocean": "{", "openstack": `{"hostname": 1}`, "hetzner": "\tx: [", "azure": `{"compute": {"userData": "?"}}`,
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, answer) }))
		defer s.Close()
		_, err := fetch(options{urls: map[string]string{name: s.URL}, timeout: time.Second}, name)
		if err == nil || errors.Is(err, errAbsent) || !strings.Contains(err.Error(), s.URL) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestReportReady(t *testing.T) {
	const goal = `<GoalState><Incarnation>3</Incarnation><Container><ContainerId>c-1</ContainerId><RoleInstanceList>` +
		`<RoleInstance><InstanceId>r-1</InstanceId></RoleInstance></RoleInstanceList></Container></GoalState>`
	var report string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			text, _ := io.ReadAll(r.Body)
			report = r.URL.RawQuery + " " + string(text)
			return
		}
		io.WriteString(w, goal)
	}))
	defer s.Close()
	if err := (client{base: s.URL}).reportReady(context.Background()); err != nil {
		t.Fatal(err)
	}
	want := `<Health><GoalStateIncarnation>3</GoalStateIncarnation><Container><ContainerId>c-1</ContainerId><RoleInstanceList><Role>` +
		`<InstanceId>r-1</InstanceId><Health><State>Ready</State></Health></Role></RoleInstanceList></Container></Health>`
	if !strings.HasPrefix(report, "comp=health ") || !strings.HasSuffix(report, want) {
		t.Errorf("got %s, want %s", report, want)
	}
}

func TestGuess(t *testing.T) {
	for want, id := range map[string]dmi{
		"[cidata]":           {vendor: "QEMU", product: "Standard PC"},
		"[cidata aws]":       {vendor: "Amazon EC2"},
		"[cidata azure]":     {vendor: "Microsoft Corporation", asset: "7783-7084-3265-9085-8269-3286-77"},
		"[cidata gcp]":       {vendor: "Google", product: "Google Compute Engine"},
		"[cidata openstack]": {vendor: "OpenStack Foundation", product: "OpenStack Nova"},
	} {
		if got := fmt.Sprint(guess(id)); got != want {
			t.Errorf("%+v: got %s, want %s", id, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"-url", "aws=http://h:1/", "cdrom", "aws", "file=/a"})
	if err != nil || fmt.Sprint(o.names) != "[cidata aws file=/a]" || o.urls["aws"] != "http://h:1" {
		t.Errorf("got %+v, %v", o, err)
	}
	for _, args := range [][]string{{"vultr"}, {"file="}, {"-url", "x=http://h"}, {"-url", "aws"}} {
		if o, err := parse(args); err == nil {
			t.Errorf("%q is taken as %+v", args, o)
		}
	}
}

func TestReadFiles(t *testing.T) {
	dir := t.TempDir()
	if _, err := readFiles(dir); !errors.Is(err, errAbsent) {
		t.Errorf("nothing there: %v", err)
	}
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("config", "of LinuxKit")
	if d, err := readFiles(dir); err != nil || string(d.user) != "of LinuxKit" {
		t.Errorf("got %+v, %v", d, err)
	}
	put("user-data", "of cloud-init")
	put("meta-data", "instance-id: 1\nlocal-hostname: me\npublic-keys: {b: B, a: A}\n")
	want := data{host: "me", instance: "1", keys: []string{"A", "B"}, user: []byte("of cloud-init")}
	if d, err := readFiles(dir); err != nil || !reflect.DeepEqual(d, want) {
		t.Errorf("got %+v, %v, want %+v", d, err, want)
	}
	put("meta-data", "instance-id: [")
	if _, err := readFiles(dir); err == nil || !strings.Contains(err.Error(), "meta-data") {
		t.Errorf("got %v", err)
	}
}
