package probe

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

const diskSize = 4 << 20

func disk(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(name, make([]byte, diskSize), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestGPT(t *testing.T) {
	name := disk(t)
	const id = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
	run(t, "sgdisk", "-n", "1:2048:+64K", "-n", "3:4096:+64K", "-u", "3:"+id, name)
	image := read(t, name)
	expect := func(number int, want string, wantErr error) {
		t.Helper()
		got, err := PartitionUUID(bytes.NewReader(image), diskSize, 512, number)
		if got != want || !errors.Is(err, wantErr) {
			t.Errorf("partition %d: got %s, %v, want %s, %v", number, got, err, want, wantErr)
		}
	}
	expect(3, id, nil)
	expect(2, "", errNoTable) // not in use
	expect(0, "", errNoTable)
	expect(129, "", errNoTable)
	list, err := Partitions(bytes.NewReader(image))
	if want := (Partition{3, id, 4096 * 512, 64 << 10}); err != nil || len(list) != 2 || list[1] != want {
		t.Errorf("got %v, %v, want %v last of two", list, err, want)
	}
	image[1024+2*128] ^= 1 // in the entries: the copy is right
	expect(3, id, nil)
	image[512+20] ^= 1 // in the header
	expect(3, id, nil)
	image[diskSize-512+20] ^= 1
	expect(3, "", errNoTable)
}

func TestMBR(t *testing.T) {
	name := disk(t)
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("label: dos\nlabel-id: 0x1234abcd\nstart=2048, size=64KiB\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "sh", "-c", `PATH=$PATH:/usr/sbin sfdisk -q "$0" < "$1"`, name, script)
	image := read(t, name)
	if got, err := PartitionUUID(bytes.NewReader(image), diskSize, 512, 1); err != nil || got != "1234abcd-01" {
		t.Errorf("got %s, %v", got, err)
	}
	image[510] = 0
	if got, err := PartitionUUID(bytes.NewReader(image), diskSize, 512, 1); err != errNoTable {
		t.Errorf("without a table got %s, %v", got, err)
	}
}
