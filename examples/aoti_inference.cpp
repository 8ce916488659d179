// Objects in image files with torch's C++ library, from a package of `lightning-rcnn export --format aoti`.
//
//   torch=$(python -c "import torch; print(torch.__path__[0])")
//   python=$(python -c "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))")
//   g++ -std=c++20 -O1 examples/aoti_inference.cpp -o detect -I$torch/include -I$torch/include/torch/csrc/api/include \
//       -L$torch/lib -Wl,-rpath,$torch/lib -L$python -Wl,-rpath,$python -Wl,--no-as-needed \
//       -ltorch -ltorch_cpu -ltorch_python -lc10 -lpython3.11 -ldl
//   ./detect compiled.pt2 $torch/../torchvision/_C*.so a.ppm
//
// The library of torchvision has NMS, which the package calls. In its wheels it is linked against torch's library for
// Python, and this against Python's; built without them, it needs neither. Images are PPM files, which need no decoder.

#include <ATen/ATen.h>
#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

// Reads a PPM file: uint8 [3, height, width], RGB.
at::Tensor read_image(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string kind;
  int64_t width = 0, height = 0, largest = 0;
  if (!(file >> kind >> width >> height >> largest) || kind != "P6" || width < 1 || height < 1 || largest != 255)
    throw std::runtime_error(path + ": is no PPM file (P6, 8 bits)");
  file.get();
  at::Tensor pixels = at::empty({height, width, 3}, at::kByte);
  if (!file.read(static_cast<char*>(pixels.data_ptr()), pixels.numel()))
    throw std::runtime_error(path + ": breaks off");
  return pixels.permute({2, 0, 1}).contiguous();
}

// The text of a JSON string, which has letters beyond ASCII as \uXXXX, in UTF-8.
std::string unescaped(const std::string& text) {
  const std::string letters = "bfnrt", characters = "\b\f\n\r\t";
  const unsigned long first_bits[] = {0, 0xC0, 0xE0, 0xF0};
  auto unit_at = [&](size_t at) { return std::stoul(text.substr(at, 4), nullptr, 16); };
  std::string plain;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\\') {
      plain += text[at];
      continue;
    }
    const char kind = text.at(++at);
    if (kind != 'u') {
      const size_t letter = letters.find(kind);
      plain += letter == std::string::npos ? kind : characters[letter];
      continue;
    }
    unsigned long code = unit_at(at + 1);
    at += 4;
    if (code >= 0xD800 && code < 0xDC00 && text.compare(at + 1, 2, "\\u") == 0) {  // two units for one character
      code = 0x10000 + ((code - 0xD800) << 10) + (unit_at(at + 3) - 0xDC00);
      at += 6;
    }
    const int further = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    plain += static_cast<char>(first_bits[further] | code >> 6 * further);
    for (int left = further - 1; left >= 0; --left) plain += static_cast<char>(0x80 | (code >> 6 * left & 0x3F));
  }
  return plain;
}

// What the package says about itself under a key: a number, a word or a list of words; a program of yours may have a
// library for JSON.
std::vector<std::string> values_of(const std::string& about, const std::string& key) {
  const std::string start = "\"" + key + "\": ";
  size_t at = about.find(start);
  if (at == std::string::npos) throw std::runtime_error("the package says nothing about " + key);
  at += start.size();
  const bool is_list = about.at(at) == '[';
  std::vector<std::string> values;
  for (at += is_list; about.at(at) != ']'; at = about.find_first_not_of(", ", at)) {
    const size_t first = at;
    if (about[first] == '"') {
      while (about.at(++at) != '"') at += about[at] == '\\';
      values.push_back(unescaped(about.substr(first + 1, at++ - first - 1)));
    } else {
      at = about.find_first_of(",]}", first);
      values.push_back(about.substr(first, at - first));
    }
    if (!is_list) break;
  }
  return values;
}

int64_t number_of(const std::string& about, const std::string& key) { return std::stoll(values_of(about, key).at(0)); }

// Resizes by the rule of the package: [3, height, width].
at::Tensor resize(const at::Tensor& image, const std::string& about) {
  const double shorter = std::min(image.size(1), image.size(2)), longer = std::max(image.size(1), image.size(2));
  const double min_size = number_of(about, "min_size"), max_size = number_of(about, "max_size");
  const std::string method = values_of(about, "method").at(0);
  if (method == "bilinear") {
    const double scale = std::min(min_size / shorter, max_size / longer);
    const int64_t height = std::max(1.0, image.size(1) * scale), width = std::max(1.0, image.size(2) * scale);
    return at::upsample_bilinear2d(image.unsqueeze(0).to(at::kFloat), {height, width}, false).squeeze(0);
  }
  if (method != "antialiased") throw std::runtime_error("this program cannot resize by the rule " + method);
  double scale = min_size / shorter;
  scale *= std::min(1.0, max_size / (longer * scale));
  const int64_t height = std::max(1.0, image.size(1) * scale + 0.5);
  const int64_t width = std::max(1.0, image.size(2) * scale + 0.5);
  return at::_upsample_bilinear2d_aa(image.unsqueeze(0), {height, width}, false).squeeze(0);
}

// Pads on the right and at the bottom: [1, 3, height, width].
at::Tensor pad(const at::Tensor& image, const std::string& about) {
  const int64_t divisor = number_of(about, "size_divisor");
  auto padded = [&](int64_t side) { return (side + divisor - 1) / divisor * divisor; };
  const int64_t rows = padded(image.size(1)) - image.size(1), columns = padded(image.size(2)) - image.size(2);
  return at::constant_pad_nd(image, {0, columns, 0, rows}).unsqueeze(0);
}

// Prints what is found in each image.
void run(const std::vector<std::string>& words) {
  if (words.size() < 3) throw std::runtime_error("usage: detect PACKAGE LIBRARY_OF_TORCHVISION IMAGE...");
  if (!dlopen(words[1].c_str(), RTLD_NOW | RTLD_GLOBAL)) throw std::runtime_error(dlerror());
  torch::inductor::AOTIModelPackageLoader detector(words[0]);
  const std::string about = detector.get_metadata().at("lightning_rcnn");
  if (values_of(about, "inputs").size() != 3 || about.find("\"pixels\": {") != std::string::npos)
    throw std::runtime_error(words[0] + ": needs proposals, or images other than RGB, which this program does not have");
  const std::vector<std::string> names = values_of(about, "class_names");
  for (size_t number = 2; number < words.size(); ++number) {
    const at::Tensor image = read_image(words[number]), resized = resize(image, about);
    auto size_of = [](const at::Tensor& one) { return at::tensor({one.size(1), one.size(2)}, at::kLong).unsqueeze(0); };
    const auto found = detector.run({pad(resized, about), size_of(resized), size_of(image)});
    const at::Tensor boxes = found[0][0].to(at::kDouble), scores = found[1][0], labels = found[2][0];
    std::printf("%s\n", words[number].c_str());
    for (int64_t slot = 0; slot < found[3][0].item<int64_t>(); ++slot) {
      const double* box = boxes[slot].const_data_ptr<double>();
      const std::string& name = names.at(labels[slot].item<int64_t>() - 1);
      std::printf("  %s %.2f at %.0f, %.0f, %.0f, %.0f\n", name.c_str(), scores[slot].item<double>(), box[0], box[1],
                  box[2], box[3]);
    }
  }
}

int main(int count, char** words) {
  try {
    run({words + 1, words + count});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
