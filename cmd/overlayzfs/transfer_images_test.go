package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/operator/transfer/frame"
	"github.com/overlayzfs/overlayzfs/operator/transfer/imagereceive"
	"github.com/overlayzfs/overlayzfs/operator/transfer/images"
	"github.com/overlayzfs/overlayzfs/operator/transfer/imagesend"
)

// TestWriteImageStreams compares what send and receive print of containerd's images.
func TestWriteImageStreams(t *testing.T) {
	h := images.Header{Time: time.Date(2026, 8, 24, 10, 15, 0, 0, time.UTC), Namespaces: []string{"k8s.io", "moby"}, Images: 8, Blobs: 31, Bytes: 3 << 30}
	sent := sendImagesReport{Header: h, Root: "/var/lib/containerd", Written: 3<<30 + 4096}
	dry := sent
	dry.Written, dry.DryRun = 0, true
	dry.Incomplete = []imagesend.Incomplete{{Namespace: "k8s.io", Name: "registry.k8s.io/pause:3.10", Reason: "containerd lacks its blob x; pull it again"}}
	from, to := digest.FromString("old"), digest.FromString("new")
	came := receiveImagesReport{
		Header: h, Address: "/run/containerd/containerd.sock", Snapshotter: "overlayzfs", New: 5, Same: 1, Missing: 2 << 30,
		Changes: []imagereceive.Change{
			{Namespace: "moby", Name: "docker.io/library/web:1", From: from, To: to},
			{Namespace: "k8s.io", Name: "docker.io/library/web:1", From: from, To: to, Lost: true},
		},
	}
	for name, show := range map[string]func(*bytes.Buffer) error{
		"send-images.txt": func(out *bytes.Buffer) error {
			return errors.Join((&sendFlags{}).reportImages(nil, out, sent), (&sendFlags{}).reportImages(nil, out, dry))
		},
		"send-images.json": func(out *bytes.Buffer) error {
			return errors.Join((&sendFlags{output: output{json: true}}).reportImages(out, nil, sent), (&sendFlags{output: output{json: true}}).reportImages(out, nil, dry))
		},
		"receive-images.txt": func(out *bytes.Buffer) error {
			_, err := out.WriteString(describeReceivedImages(imagereceive.Result{Images: 8, Unpacked: 1}) + "\n")
			return errors.Join((&receiveFlags{}).printImages(out, came), err)
		},
		"receive-images.json": func(out *bytes.Buffer) error {
			return (&receiveFlags{output: output{json: true}}).printImages(out, came)
		},
	} {
		var out bytes.Buffer
		if err := show(&out); err != nil {
			t.Fatal(err)
		}
		golden(t, name, out.String())
	}
}

// TestReceiveImagesWithoutContainerd says what has to run, and does not look for a store.
func TestReceiveImagesWithoutContainerd(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "stream")
	var raw bytes.Buffer
	if err := images.Write(&raw, images.Index{}, time.Now(), nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, raw.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	code := run(t.Context(), []string{"receive", "--yes", "--input", file, "--address", filepath.Join(dir, "socket")}, testConsole(t, &out))
	if code != exitFailed || !bytes.Contains(out.Bytes(), []byte("containerd does not answer on "+dir)) {
		t.Errorf("it exits with %d and says %s", code, &out)
	}
	writeStream(t, file, frame.Images, images.Header{})
	out.Reset()
	code = run(t.Context(), []string{"receive", "--yes", "--input", file}, testConsole(t, &out))
	if code != exitFailed || !bytes.Contains(out.Bytes(), []byte("the stream ends too early")) {
		t.Errorf("of a cut stream it exits with %d and says %s", code, &out)
	}
}
