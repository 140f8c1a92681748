// Render a Helm chart without Helm: text/template with sprig and the few functions that Helm adds and the chart uses.
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go run tools/helm-render/main.go CHART RELEASE NAMESPACE [VALUES.yaml …]
//
// What Helm does beyond that (hooks in order, dependencies, the schema of values, a cluster's capabilities) is not here.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig" // Debian keeps version 3 under this name
	"gopkg.in/yaml.v3"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func read(path string) map[string]interface{} {
	raw, err := os.ReadFile(path)
	must(err)
	found := map[string]interface{}{}
	must(yaml.Unmarshal(raw, &found))
	return found
}

// Lay the second map over the first, as Helm does with values.
func over(under, upper map[string]interface{}) map[string]interface{} {
	for key, value := range upper {
		inner, isMap := value.(map[string]interface{})
		before, wasMap := under[key].(map[string]interface{})
		if isMap && wasMap {
			under[key] = over(before, inner)
		} else {
			under[key] = value
		}
	}
	return under
}

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: main CHART RELEASE NAMESPACE [VALUES.yaml …]")
		os.Exit(2)
	}
	folder := os.Args[1]
	values := read(filepath.Join(folder, "values.yaml"))
	for _, path := range os.Args[4:] {
		values = over(values, read(path))
	}
	chart := map[string]interface{}{}
	for key, value := range read(filepath.Join(folder, "Chart.yaml")) {
		chart[strings.ToUpper(key[:1])+key[1:]] = value
	}
	root := template.New("chart").Option("missingkey=error")
	functions := sprig.TxtFuncMap()
	// As Helm: a chart must not read the environment of whoever renders it.
	delete(functions, "env")
	delete(functions, "expandenv")
	functions["toYaml"] = func(value interface{}) (string, error) {
		var out bytes.Buffer
		encoder := yaml.NewEncoder(&out)
		encoder.SetIndent(2)
		err := encoder.Encode(value)
		return strings.TrimSuffix(out.String(), "\n"), err
	}
	functions["include"] = func(name string, data interface{}) (string, error) {
		var out bytes.Buffer
		err := root.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	functions["required"] = func(message string, value interface{}) (interface{}, error) {
		if value == nil || value == "" {
			return nil, fmt.Errorf("%s", message)
		}
		return value, nil
	}
	root.Funcs(functions)
	paths, err := filepath.Glob(filepath.Join(folder, "templates", "*"))
	must(err)
	sort.Strings(paths)
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		must(err)
		_, err = root.New(filepath.Base(path)).Parse(string(raw))
		must(err)
	}
	data := map[string]interface{}{
		"Values":  values,
		"Chart":   chart,
		"Release": map[string]interface{}{"Name": os.Args[2], "Namespace": os.Args[3], "Service": "Helm"},
	}
	for _, path := range paths {
		name := filepath.Base(path)
		if strings.HasPrefix(name, "_") {
			continue
		}
		var out bytes.Buffer
		must(root.ExecuteTemplate(&out, name, data))
		fmt.Printf("---\n# Source: %s\n%s\n", name, out.String())
	}
}
