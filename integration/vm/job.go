package vm

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// JobDir is a job's directory in the guest, where its programs start. It is a
// tmpfs; elsewhere the root disk, an ext4, takes what a job writes.
const JobDir = "/lab/job"

// Job is what one machine runs, as root.
type Job struct {
	// Command is the program and its arguments.
	Command []string
	Env     map[string]string
	// Files are copied in before the program starts.
	Files []File
	// Outs are handed back after it ended, whatever its exit code.
	Outs []Out
	// Merge sends standard error down the same stream as standard output,
	// which keeps the order of what is written to both.
	Merge bool
}

// File is a file or directory of the host and its place in the guest. A
// relative place is below [JobDir].
type File struct {
	Host, Guest string
	// Executable makes the file a program, whatever its mode on the host.
	Executable bool
}

// Out is a file or directory of the guest and its place on the host.
type Out struct{ Guest, Host string }

// guestPath is absolute.
func guestPath(name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(JobDir, name)
}

// startScript is what the guest runs; guest/run-job calls it.
func (j *Job) startScript() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cd %s\n", JobDir)
	for _, name := range slices.Sorted(maps.Keys(j.Env)) {
		fmt.Fprintf(&b, "export %s=%s\n", name, quote(j.Env[name]))
	}
	if j.Merge {
		b.WriteString("exec 2>&1\n")
	}
	b.WriteString("exec")
	for _, word := range j.Command {
		b.WriteString(" " + quote(word))
	}
	b.WriteString("\n")
	return b.String()
}

// quote makes one word of the shell.
func quote(word string) string {
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// writeTar writes the job as the archive that the guest unpacks at its root.
func (j *Job) writeTar(w io.Writer) error {
	archive := tar.NewWriter(w)
	for _, file := range j.Files {
		if err := addTree(archive, file.Host, guestPath(file.Guest), file.Executable); err != nil {
			return fmt.Errorf("copying %s into the job: %w", file.Host, err)
		}
	}
	var outs strings.Builder
	for _, out := range j.Outs {
		outs.WriteString(guestPath(out.Guest) + "\n")
	}
	for name, text := range map[string]string{".start": j.startScript(), ".outs": outs.String()} {
		header := &tar.Header{Name: strings.TrimPrefix(path.Join(JobDir, name), "/"), Mode: 0o755, Size: int64(len(text))}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.WriteString(archive, text); err != nil {
			return err
		}
	}
	return archive.Close()
}

// addTree adds a file or directory under another name. Everything belongs to
// root: the host's owners mean nothing in the guest.
func addTree(archive *tar.Writer, host, guest string, executable bool) error {
	// A link named by the caller is followed, those below it stay links.
	host, err := filepath.EvalSymlinks(host)
	if err != nil {
		return err
	}
	return filepath.WalkDir(host, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(host, name)
		if err != nil {
			return err
		}
		return addEntry(archive, name, path.Join(guest, filepath.ToSlash(below)), entry, executable)
	})
}

func addEntry(archive *tar.Writer, host, guest string, entry fs.DirEntry, executable bool) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket != 0 {
		return nil
	}
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if link, err = os.Readlink(host); err != nil {
			return err
		}
	}
	header, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	header.Name = strings.TrimPrefix(guest, "/")
	if info.IsDir() {
		header.Name += "/"
	}
	if executable {
		header.Mode |= 0o111
	}
	header.Uid, header.Gid, header.Uname, header.Gname = 0, 0, "", ""
	if err := archive.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
		return err
	}
	file, err := os.Open(host)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(archive, file)
	return err
}
