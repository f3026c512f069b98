package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
)

// wireServer is what -url calls the server that Azure's agents report to.
const wireServer = "azure-wire"

// fetchAzure asks the instance metadata service (Azure, "Azure Instance
// Metadata Service"). What is there is user data, not custom data.
func fetchAzure(ctx context.Context, c client) (data, error) {
	const path = "/metadata/instance?api-version=2021-02-01"
	body, _, err := c.probe(ctx, http.MethodGet, path, map[string]string{"Metadata": "true"})
	if err != nil {
		return data{}, err
	}
	var m struct {
		Compute struct {
			Name     string `json:"name"`
			Instance string `json:"vmId"`
			User     string `json:"userData"`
			Profile  struct {
				Host string `json:"computerName"`
			} `json:"osProfile"`
			Keys []struct {
				Key string `json:"keyData"`
			} `json:"publicKeys"`
		} `json:"compute"`
	}
	if err := c.decode(path, body, &m); err != nil {
		return data{}, err
	}
	user, err := base64.StdEncoding.DecodeString(m.Compute.User)
	if err != nil {
		return data{}, fmt.Errorf("%s%s: userData: %w", c.base, path, err)
	}
	d := data{host: cmp.Or(m.Compute.Profile.Host, m.Compute.Name), instance: m.Compute.Instance, user: user}
	for _, k := range m.Compute.Keys {
		d.keys = append(d.keys, strings.TrimSpace(strings.ReplaceAll(k.Key, "\r\n", "")))
	}
	wire := client{base: cmp.Or(c.wire, "http://168.63.129.16"), headers: map[string]string{"x-ms-version": "2012-11-30", "x-ms-agent-name": "lkx"}}
	d.ready = wire.reportReady
	return d, nil
}

// goalState is what the wire server wants of a machine, as far as a report has
// to repeat it.
type goalState struct {
	Incarnation string
	Container   string `xml:"Container>ContainerId"`
	Instance    string `xml:"Container>RoleInstanceList>RoleInstance>InstanceId"`
}

// health is the report (Azure, "Azure Linux VM provisioning without agent").
type health struct {
	XMLName     xml.Name `xml:"Health"`
	Incarnation string   `xml:"GoalStateIncarnation"`
	Container   string   `xml:"Container>ContainerId"`
	Instance    string   `xml:"Container>RoleInstanceList>Role>InstanceId"`
	State       string   `xml:"Container>RoleInstanceList>Role>Health>State"`
}

// reportReady ends the provisioning: Azure deletes a machine that does not.
func (c client) reportReady(ctx context.Context) error {
	body, _, err := c.ask(ctx, http.MethodGet, "/machine/?comp=goalstate", nil, nil)
	if err != nil {
		return err
	}
	var g goalState
	if err := xml.Unmarshal(body, &g); err != nil {
		return fmt.Errorf("reading the goal state: %w", err)
	}
	report, err := xml.Marshal(health{Incarnation: g.Incarnation, Container: g.Container, Instance: g.Instance, State: "Ready"})
	if err != nil {
		return err
	}
	_, _, err = c.ask(ctx, http.MethodPost, "/machine?comp=health", map[string]string{"Content-Type": "text/xml;charset=utf-8"},
		append([]byte(xml.Header), report...))
	return err
}
