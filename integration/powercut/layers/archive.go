package layers

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// Root is the layer of a root file system with one static program.
func Root(program []byte) ([]byte, error) {
	var b bytes.Buffer
	m := &maker{Rand: Random(0), out: tar.NewWriter(&b)}
	for _, dir := range []string{"bin/", "etc/", "tmp/", "proc/", "sys/", "dev/"} {
		m.entry(tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	m.entry(tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755}, program)
	err := errors.Join(m.err, m.out.Close())
	return b.Bytes(), err
}

// Archive is an image as `docker load` takes it.
func Archive(name string, layers ...[]byte) ([]byte, error) {
	var diffIDs, files []string
	for i, layer := range layers {
		sum := sha256.Sum256(layer)
		diffIDs = append(diffIDs, "sha256:"+hex.EncodeToString(sum[:]))
		files = append(files, fmt.Sprintf("%d.tar", i))
	}
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux",
		"config": map[string]any{"Cmd": []string{"/bin/busybox", "true"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
	if err != nil {
		return nil, err
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{name}, "Layers": files}})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	m := &maker{Rand: Random(0), out: tar.NewWriter(&b)}
	for i, layer := range layers {
		m.entry(tar.Header{Name: files[i], Typeflag: tar.TypeReg, Mode: 0o644}, layer)
	}
	m.entry(tar.Header{Name: "config.json", Typeflag: tar.TypeReg, Mode: 0o644}, config)
	m.entry(tar.Header{Name: "manifest.json", Typeflag: tar.TypeReg, Mode: 0o644}, manifest)
	err = errors.Join(m.err, m.out.Close())
	return b.Bytes(), err
}
