// CRC-32C (Castagnoli), as iSCSI, ext4 and TensorBoard use it: reflected polynomial 0x82F63B78,
// initial value and final xor 0xFFFFFFFF (RFC 3720, appendix B.4 has the test vectors).
#pragma once

#include <cstdint>
#include <string_view>

namespace trainyard {

uint32_t Crc32c(std::string_view bytes);

}  // namespace trainyard
