package plan

import (
	"fmt"
	"strconv"
)

// Job is the work order of one exec op: it travels as a file, and so is part of
// the op's cache key. Only what the result depends on may be in it.
type Job struct {
	Make        string   `json:"make"`                  // one of the constants
	Arch        string   `json:"arch,omitempty"`        // GOARCH of the system
	Epoch       int64    `json:"epoch"`                 // seconds since 1970, of every file and volume
	Compression string   `json:"compression,omitempty"` // of segments
	Disk        string   `json:"disk,omitempty"`        // type of a root file system for disks: the one to make, or that of disks
	Disks       []string `json:"disks,omitempty"`       // types of root file systems that are mounted
	Formats     []string `json:"formats,omitempty"`     // of artifacts
	Base        string   `json:"base,omitempty"`        // base name of artifacts
	Size        int64    `json:"size,omitempty"`        // least size of a disk, in bytes
	Boot        *Step    `json:"boot,omitempty"`
	Code        *Step    `json:"code,omitempty"`
	Steps       []Step   `json:"steps,omitempty"`
	Segments    int      `json:"segments,omitempty"` // how many are mounted
}

// What a job can make.
const (
	JobSegment   = "segment"   // the segment of its one step, as SegmentFile
	JobRootFS    = "rootfs"    // the tree of its steps, as a directory
	JobRootDirs  = "rootdirs"  // the directories that steps need and do not place, as the steps together have them
	JobDisk      = "disk"      // its steps as a root file system for a disk
	JobArtifacts = "artifacts" // files in its formats
)

// Where an exec op finds things.
const (
	ToolPath    = "/lkx"       // the program
	ToolArg     = "exec-op"    // its first argument
	JobDir      = "/job"       // mount point of the work order
	JobFile     = "job.json"   // in JobDir
	OutDir      = "/out"       // mount point of the result
	ContextDir  = "/context"   // mount point of the build context
	TurnsDir    = "/turns"     // mount point of a directory that all exec ops of a builder share
	BlocksDir   = "/blocks"    // mount point of another one: what compressed blocks of root file systems are kept in
	SegmentFile = "segment"    // in OutDir, and in each segment's mount
	DiskFile    = "root"       // in OutDir, and in the mount of each root file system
	BlobFile    = "blob"       // in each blob's mount
	imageDir    = "/images/"   // below it, image i of Images
	blobDir     = "/blobs/"    // below it, blob i of Blobs
	segmentDir  = "/segments/" // below it, segment i
	diskDir     = "/disks/"    // below it, the root file system of a type
)

// ImageDir is the mount point of the job's image i, in the order of [Images].
func ImageDir(i int) string { return imageDir + strconv.Itoa(i) }

// BlobDir is the mount point of the job's blob i, in the order of [Blobs].
func BlobDir(i int) string { return blobDir + strconv.Itoa(i) }

// SegmentDir is the mount point of segment i.
func SegmentDir(i int) string { return segmentDir + fmt.Sprintf("%03d", i) }

// DiskDir is the mount point of the root file system of type kind.
func DiskDir(kind string) string { return diskDir + kind }

// Images are the images that j needs mounted.
func (j *Job) Images() []Image {
	return Images(beside(j.Boot, j.Code, j.Steps)...)
}

// Blobs are the blobs that j needs mounted.
func (j *Job) Blobs() []Blob { return Blobs(j.Steps...) }

// ContextPaths are the paths of the build context that j reads.
func (j *Job) ContextPaths() []string {
	var out []string
	for i := range j.Steps {
		out = append(out, j.Steps[i].contextPaths()...)
	}
	return out
}
