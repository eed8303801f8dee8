package vm

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// profileFlags are the flags of a test binary that name a file it writes.
var profileFlags = []string{
	"-test.coverprofile", "-test.cpuprofile", "-test.memprofile", "-test.blockprofile", "-test.mutexprofile", "-test.trace",
}

// TestJob is the job of `go test -exec`: a test binary with its arguments,
// started in the package's directory dir. The package's testdata comes along,
// and profiles come back.
func TestJob(binary string, args []string, dir string) *Job {
	name := path.Base(filepath.ToSlash(binary))
	job := &Job{Command: []string{path.Join(JobDir, name)}, Files: []File{{Host: binary, Guest: name}}}
	testdata := filepath.Join(dir, "testdata")
	if info, err := os.Stat(testdata); err == nil && info.IsDir() {
		job.Files = append(job.Files, File{Host: testdata, Guest: "testdata"})
	}
	outputDir := flagValue(args, "-test.outputdir")
	if outputDir == "" {
		outputDir = dir
	}
	for _, arg := range args {
		flag, value, _ := strings.Cut(arg, "=")
		switch {
		case flag == "-test.testlogfile" || flag == "-test.outputdir":
			// The former feeds the go command's cache of results. What ran in
			// a machine depends on more than it knows.
			continue
		case value != "" && flag == "-test.gocoverdir":
			// A directory that is there and empty.
			guestPath := "/tmp/gocoverdir"
			job.Files = append(job.Files, File{Host: value, Guest: guestPath})
			job.Outs = append(job.Outs, Out{Guest: guestPath, Host: value})
			arg = flag + "=" + guestPath
		case value != "" && isProfile(flag):
			guestPath := "/tmp/" + strings.TrimPrefix(flag, "-test.")
			host := value
			if !filepath.IsAbs(host) {
				host = filepath.Join(outputDir, host)
			}
			job.Outs = append(job.Outs, Out{Guest: guestPath, Host: host})
			arg = flag + "=" + guestPath
		}
		job.Command = append(job.Command, arg)
	}
	return job
}

// TestTimeout is the limit that the test binary has by its own flag; a machine
// needs a little more.
func TestTimeout(args []string) (time.Duration, bool) {
	limit, err := time.ParseDuration(flagValue(args, "-test.timeout"))
	return limit, err == nil && limit > 0
}

func flagValue(args []string, name string) string {
	for _, arg := range args {
		if value, found := strings.CutPrefix(arg, name+"="); found {
			return value
		}
	}
	return ""
}

func isProfile(flag string) bool {
	for _, known := range profileFlags {
		if flag == known {
			return true
		}
	}
	return false
}
