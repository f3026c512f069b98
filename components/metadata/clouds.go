package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// fetchAWS asks the instance metadata service, version 2 (Amazon EC2 user
// guide, "Use the Instance Metadata Service").
func fetchAWS(ctx context.Context, c client) (data, error) {
	token, _, err := c.probe(ctx, http.MethodPut, "/latest/api/token", map[string]string{"X-aws-ec2-metadata-token-ttl-seconds": "300"})
	if err != nil {
		return data{}, err
	}
	c.headers = map[string]string{"X-aws-ec2-metadata-token": string(token)}
	instance, err1 := c.get(ctx, "/latest/meta-data/instance-id")
	host, err2 := c.get(ctx, "/latest/meta-data/hostname")
	user, err3 := c.get(ctx, "/latest/user-data")
	list, err4 := c.get(ctx, "/latest/meta-data/public-keys/") // lines of "0=name"
	d := data{host: text(host), instance: text(instance), user: user}
	errs := []error{err1, err2, err3, err4}
	for line := range strings.Lines(string(list)) {
		number, _, _ := strings.Cut(strings.TrimSpace(line), "=")
		key, err := c.get(ctx, "/latest/meta-data/public-keys/"+number+"/openssh-key")
		d.keys = append(d.keys, lines(key)...)
		errs = append(errs, err)
	}
	return d, errors.Join(errs...)
}

// fetchGCP asks Compute Engine's metadata server ("About VM metadata").
func fetchGCP(ctx context.Context, c client) (data, error) {
	const root = "/computeMetadata/v1"
	c.headers = map[string]string{"Metadata-Flavor": "Google"}
	instance, header, err := c.probe(ctx, http.MethodGet, root+"/instance/id", nil)
	if err != nil {
		return data{}, err
	}
	if header.Get("Metadata-Flavor") != "Google" {
		return data{}, fmt.Errorf("%w: %s does not say that it is Google's", errAbsent, c.base)
	}
	host, err1 := c.get(ctx, root+"/instance/hostname")
	user, err2 := c.get(ctx, root+"/instance/attributes/user-data")
	userdata, err3 := c.get(ctx, root+"/instance/attributes/userdata") // LinuxKit's name
	own, err4 := c.get(ctx, root+"/instance/attributes/ssh-keys")
	alone, err5 := c.get(ctx, root+"/instance/attributes/block-project-ssh-keys")
	var project []byte
	var err6 error
	if !strings.EqualFold(text(alone), "true") {
		project, err6 = c.get(ctx, root+"/project/attributes/ssh-keys")
	}
	d := data{host: text(host), instance: text(instance), user: user}
	if len(user) == 0 {
		d.user = userdata
	}
	for _, line := range append(lines(own), lines(project)...) {
		if _, key, ok := strings.Cut(line, ":"); ok { // "user:ssh-ed25519 AAAA… comment"
			d.keys = append(d.keys, key)
		}
	}
	return d, errors.Join(err1, err2, err3, err4, err5, err6)
}

// fetchHetzner asks Hetzner Cloud ("Server metadata" of its API).
func fetchHetzner(ctx context.Context, c client) (data, error) {
	const path = "/hetzner/v1/metadata"
	body, _, err := c.probe(ctx, http.MethodGet, path, nil)
	if err != nil {
		return data{}, err
	}
	var m struct {
		Host     string   `yaml:"hostname"`
		Instance string   `yaml:"instance-id"`
		Keys     []string `yaml:"public-keys"`
	}
	if err := decodeYAML(c.base+path, body, &m); err != nil {
		return data{}, err
	}
	user, err := c.get(ctx, "/hetzner/v1/userdata")
	return data{host: m.Host, instance: m.Instance, keys: m.Keys, user: user}, err
}

// fetchDigitalOcean asks for everything at once (DigitalOcean's metadata API).
func fetchDigitalOcean(ctx context.Context, c client) (data, error) {
	const path = "/metadata/v1.json"
	body, _, err := c.probe(ctx, http.MethodGet, path, nil)
	if err != nil {
		return data{}, err
	}
	var m struct {
		Host     string      `json:"hostname"`
		Instance json.Number `json:"droplet_id"`
		Keys     []string    `json:"public_keys"`
		User     string      `json:"user_data"`
	}
	if err := c.decode(path, body, &m); err != nil {
		return data{}, err
	}
	return data{host: m.Host, instance: m.Instance.String(), keys: m.Keys, user: []byte(m.User)}, nil
}

// fetchOpenStack asks Nova's metadata service ("Metadata", OpenStack format).
func fetchOpenStack(ctx context.Context, c client) (data, error) {
	const path = "/openstack/latest/meta_data.json"
	body, _, err := c.probe(ctx, http.MethodGet, path, nil)
	if err != nil {
		return data{}, err
	}
	var m struct {
		Host     string            `json:"hostname"`
		Instance string            `json:"uuid"`
		Keys     map[string]string `json:"public_keys"`
	}
	if err := c.decode(path, body, &m); err != nil {
		return data{}, err
	}
	user, err := c.get(ctx, "/openstack/latest/user_data")
	d := data{host: m.Host, instance: m.Instance, user: user}
	for _, name := range slices.Sorted(maps.Keys(m.Keys)) {
		d.keys = append(d.keys, lines([]byte(m.Keys[name]))...)
	}
	return d, err
}

// lines are those that are not empty, without blanks around them.
func lines(text []byte) []string {
	var out []string
	for line := range bytes.Lines(text) {
		if s := string(bytes.TrimSpace(line)); s != "" {
			out = append(out, s)
		}
	}
	return out
}
