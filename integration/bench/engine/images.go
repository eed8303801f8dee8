package engine

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"
)

const (
	baseImage   = "race:base"
	loadedImage = "race:loaded"
	builtImage  = "race:built"
)

// The base image: a static program and some hundred files, a few megabytes in all. vfs
// copies it for each layer, so it is small.
const (
	baseDirs     = 20
	filesPerDir  = 20
	baseFileSize = 12 << 10
)

// The image that is loaded.
const (
	loadedLayers   = 10
	filesPerLayer  = 40
	loadedFileSize = 8 << 10
)

// The steps of a build after FROM. Few of them run a program: each costs all contenders
// the same time in the container runtime.
const (
	buildSteps = 20
	runEvery   = 4
)

// busybox is the path of the program in images.
const busybox = "/bin/busybox"

// archive writes a tar whose files are always the same. finish returns the first error.
type archive struct {
	buffer  bytes.Buffer
	out     *tar.Writer
	content *rand.ChaCha8
	err     error
}

func newArchive(seed byte) *archive {
	a := &archive{content: rand.NewChaCha8([32]byte{seed})}
	a.out = tar.NewWriter(&a.buffer)
	return a
}

func (a *archive) dir(name string) { a.entry(name+"/", tar.TypeDir, 0o755, nil) }

func (a *archive) file(name string, mode int64, content []byte) {
	a.entry(name, tar.TypeReg, mode, content)
}

// random adds a file that does not compress.
func (a *archive) random(name string, size int) {
	content := make([]byte, size)
	if _, err := io.ReadFull(a.content, content); err != nil {
		a.err = errors.Join(a.err, err)
	}
	a.file(name, 0o644, content)
}

func (a *archive) entry(name string, kind byte, mode int64, content []byte) {
	header := &tar.Header{
		Name: name, Typeflag: kind, Mode: mode, Size: int64(len(content)), ModTime: time.Unix(1_500_000_000, 0),
	}
	if a.err == nil {
		a.err = a.out.WriteHeader(header)
	}
	if a.err == nil {
		_, a.err = a.out.Write(content)
	}
}

func (a *archive) finish() ([]byte, error) {
	err := errors.Join(a.err, a.out.Close())
	return a.buffer.Bytes(), err
}

// makeBaseLayer makes the only layer of the base image.
func makeBaseLayer(program []byte) ([]byte, error) {
	a := newArchive(0)
	for _, name := range []string{"bin", "dev", "etc", "lib", "proc", "sys", "tmp"} {
		a.dir(name)
	}
	a.file(strings.TrimPrefix(busybox, "/"), 0o755, program)
	for d := range baseDirs {
		dir := fmt.Sprintf("lib/d%d", d)
		a.dir(dir)
		for f := range filesPerDir {
			a.random(fmt.Sprintf("%s/f%d", dir, f), baseFileSize)
		}
	}
	return a.finish()
}

// makeLoadedLayers makes the layers of the image that is loaded.
func makeLoadedLayers() ([][]byte, error) {
	var layers [][]byte
	for n := range loadedLayers {
		a := newArchive(byte(1 + n))
		dir := fmt.Sprintf("layer%d", n)
		a.dir(dir)
		for f := range filesPerLayer {
			a.random(fmt.Sprintf("%s/f%d", dir, f), loadedFileSize)
		}
		layer, err := a.finish()
		if err != nil {
			return nil, err
		}
		layers = append(layers, layer)
	}
	return layers, nil
}

// makeBuildFiles makes the files of a build context.
func makeBuildFiles() map[string][]byte {
	files := make(map[string][]byte)
	var dockerfile strings.Builder
	fmt.Fprintf(&dockerfile, "FROM %s\n", baseImage)
	for n := range buildSteps {
		name := fmt.Sprintf("file%d", n)
		if n%runEvery != runEvery-1 {
			files[name] = bytes.Repeat([]byte(name+"\n"), 100)
			fmt.Fprintf(&dockerfile, "COPY %s /%s\n", name, name)
			continue
		}
		fmt.Fprintf(&dockerfile, "RUN [\"%s\", \"sh\", \"-c\", \"echo %s >/%s\"]\n", busybox, name, name)
	}
	files["Dockerfile"] = []byte(dockerfile.String())
	return files
}

// makeContextTar makes the tar of the build context for the classic builder.
func makeContextTar() ([]byte, error) {
	a := newArchive(0)
	for name, content := range makeBuildFiles() {
		a.file(name, 0o644, content)
	}
	return a.finish()
}
