package containerdstore

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// FuzzRecords reads records whose values somebody else chose.
func FuzzRecords(f *testing.F) {
	f.Add("moby", "box", "moby/1/box", "", []byte{1}, []byte{2}, []byte(anyOf(`{"Metadata":{"Name":"a_b_c_d_0"}}`)))
	f.Add("k8s.io", "sha256:x", "x", "sha256:x", []byte{0xff}, []byte{}, []byte{0x12})
	f.Add("a\x1b", "b ", "/1/", "b ", []byte{0x80}, []byte{3, 3}, []byte(`{`))
	f.Fuzz(func(t *testing.T, namespace, key, name, parent string, id, kind, extension []byte) {
		if namespace == "" || key == "" || namespace == "version" || len(namespace)+len(key)+len(name) > 10000 {
			return
		}
		r := newTestRoot(t)
		r.write(tree{namespace: tree{
			"snapshots":  tree{"s": tree{key: tree{"name": name, "parent": parent}}},
			"containers": tree{key: tree{"snapshotter": "s", "snapshotKey": name, "image": name, "extensions": tree{criExtensions[0]: string(extension)}}},
			"images":     tree{key: tree{"target": tree{"digest": name}}},
			"leases":     tree{key: tree{"snapshots": tree{"s": tree{key: ""}}}},
		}})
		root, err := Open(r.dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		records, err := root.Read("s")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range records.Containers {
			if !isPrintable(c.Name) || !isPrintable(c.ID) {
				t.Errorf("%+v", c)
			}
		}
		file := filepath.Join(r.dir, BackendFile)
		writeDatabase(t, file, tree{"v1": tree{"snapshots": tree{key: tree{"id": string(id), "kind": string(kind), "size": string(id), "parent": parent}}}})
		backend, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer backend.Close()
		all, err := ReadBackend(backend)
		for _, b := range all {
			if err == nil && (!IsLayerID(b.ID) || b.Size < 0) {
				t.Errorf("%+v", b)
			}
		}
	})
}

// FuzzManifest decodes manifests and configurations.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"config":{"digest":"sha256:x"},"layers":[{"digest":"sha256:y"}]}`), []byte(`{"rootfs":{"diff_ids":["sha256:z"]}}`))
	f.Add([]byte(`{"manifests":[{"digest":"x"}]}`), []byte(`{"rootfs":null}`))
	f.Fuzz(func(t *testing.T, manifest, config []byte) {
		var doc document
		if err := json.Unmarshal(manifest, &doc); err != nil {
			return
		}
		m, err := decodeManifest(doc, config)
		if err == nil && m != nil && (len(m.Chains) != len(m.Blobs) || len(m.Chains) != len(m.Diffs)) {
			t.Errorf("%+v", m)
		}
	})
}
