package ova

import (
	"bytes"
	_ "embed"
	"fmt"
	"text/template"
)

// The elements of an Item stand in the order of their names, as the schema of
// CIM_ResourceAllocationSettingData has them. Its resource types are: 3 CPU, 4
// memory, 6 SCSI controller, 10 network adapter, 17 disk. Operating system 101
// of CIM_OperatingSystem is Linux, 64 bit.
//
//go:embed descriptor.ovf
var text string

var descriptorTemplate = template.Must(template.New("").Parse(text))

// descriptor is the OVF descriptor of a machine with the disk file.
func descriptor(file *image, o Options) ([]byte, error) {
	var out bytes.Buffer
	err := descriptorTemplate.Execute(&out, struct {
		Options
		Disk           string
		Size, Capacity int64
	}{o, file.name, file.size, file.capacity})
	if err != nil {
		return nil, fmt.Errorf("writing the descriptor: %w", err)
	}
	return out.Bytes(), nil
}
