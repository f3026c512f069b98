package main

import (
	"os"
	"path/filepath"
	"strings"
)

// dmi is what the firmware says of the machine (SMBIOS 3.7: types 1 and 3).
type dmi struct{ vendor, product, asset string }

func readDMI(dir string) dmi {
	read := func(name string) string {
		text, _ := os.ReadFile(filepath.Join(dir, name)) // machines without are in no cloud
		return strings.TrimSpace(string(text))
	}
	return dmi{read("sys_vendor"), read("product_name"), read("chassis_asset_tag")}
}

func (d dmi) aws() bool          { return d.vendor == "Amazon EC2" }
func (d dmi) azure() bool        { return d.asset == "7783-7084-3265-9085-8269-3286-77" }
func (d dmi) digitalOcean() bool { return d.vendor == "DigitalOcean" }
func (d dmi) gcp() bool          { return d.product == "Google Compute Engine" }
func (d dmi) hetzner() bool      { return d.vendor == "Hetzner" }

func (d dmi) openStack() bool {
	return d.product == "OpenStack Nova" || d.product == "OpenStack Compute" || strings.HasPrefix(d.asset, "OpenStack")
}
